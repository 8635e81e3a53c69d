"""The benchmark of warm nights goes on where it was cut off, and each chain on from its own night before."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import recjobs.extract.stage as extract_stage
import recjobs.retrieve.train.stage as train_stage
from benchmarks import warm_start
from recjobs.manifest import PREVIOUS_TRAIN, Inputs, Manifest, Output, Sources
from recjobs.settings import Settings

JUDGED = {"recall": 0.3, "recall_seen": 0.3, "recall_new": 0.0, "recall_first": 0.0, "users": 5, "fit": 1.0}
JUDGED |= {"stage": 2.0, "cpu": 2.0, "steps": 3, "metrics": {"drift": 0.0, "drift_estimate": 0.0}, "notes": []}


def bench_of(folder: Path, *further: str) -> warm_start.Bench:
    sizes = ["--users", "20", "--items", "200", "--nights", "3", "--again", "1", "--out", str(folder)]
    return warm_start.bench_of([*sizes, *further])


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """What is trained, as (chain, date); nothing is, really."""
    calls: list[tuple[str, str]] = []

    def train(inputs: Inputs, _: Settings, out: Output) -> Manifest:
        name = Path(out.run_folder).parent.name
        before = inputs.get(PREVIOUS_TRAIN)
        assert (before is None) == (name in ("full", "again"))
        if before is not None:
            first = not any(chain == name for chain, _ in calls)
            assert Path(before.folder).parents[1].name == ("full" if first else name)
        if len(calls) == 5 and "cut off" not in str(calls):
            calls.append(("cut off", ""))
            raise KeyboardInterrupt
        calls.append((name, str(out.ds)))
        return out.manifest(rows={"steps": 3}, timings={"training": 1.0})

    def extracted(_: Inputs, __: Settings, out: Output) -> Manifest:
        return out.manifest(rows={})

    monkeypatch.setattr(train_stage, "run", train)
    monkeypatch.setattr(extract_stage, "run", extracted)
    monkeypatch.setattr(warm_start, "pin_sources", lambda *_: Sources())
    monkeypatch.setattr(warm_start, "_truth", lambda *_: None)
    monkeypatch.setattr(warm_start, "_judged", lambda *_: JUDGED)
    monkeypatch.setattr(warm_start, "_popular", lambda *_: 0.1)
    return calls


def test_nothing_is_trained_twice(tmp_path: Path, trained: list[tuple[str, str]]) -> None:
    with pytest.raises(KeyboardInterrupt):
        warm_start.measure(bench_of(tmp_path))
    assert len(json.loads((tmp_path / "warm_start.json").read_text())["nights"]) == 1
    nights = warm_start.measure(bench_of(tmp_path))
    trained.remove(("cut off", ""))
    assert len(trained) == len(set(trained)) == 1 + 3 + 3 + 1
    assert [sorted(night.judged) for night in nights] == [["again", "full", "warm"], *[["full", "warm"]] * 2]
    warm_start.measure(bench_of(tmp_path, "--chain", "frozen:retrieve.train.warm_share=0.01", "--chain-nights", "2"))
    assert trained[8:] == [("frozen", "2026-06-27"), ("frozen", "2026-06-28")]


def test_figures_of_other_settings_are_not_mixed(tmp_path: Path) -> None:
    path = tmp_path / "settings.json"
    warm_start._require_same(path, {"seed": 1})
    warm_start._require_same(path, {"seed": 1})
    with pytest.raises(SystemExit, match="measured with other settings"):
        warm_start._require_same(path, {"seed": 2})
