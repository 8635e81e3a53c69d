from __future__ import annotations

import json
from datetime import date
from pathlib import Path

import polars as pl
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from recjobs import columns, manifest, storage
from recjobs.cli.app import app
from recjobs.errors import MissingInputError
from recjobs.exports.vectors import export_vectors, find_vectors
from recjobs.plan import Plan, Step, plan_uri
from recjobs.settings import Settings
from tests.planted import planted_settings

DS = date(2026, 3, 31)
RUNS = {"retrieve/search": "", "compose": "-lists", "publish": "-publish"}
CUTOFFS = manifest.cutoffs_of(DS, train_lag_days=0, history_lag_days=0, label_days=1)


def plan_with_search(
    settings: Settings, sequence: int, users: list[str] | None, attempt: str = "a1", published: int | None = None
) -> None:
    """A stored plan; its search is finished with vectors of `users`, or not at all.

    `published` is its generation's number within the date, if its lists were published.
    """
    run = f"run{sequence}"
    steps = {stage: step_of(settings, stage, f"{run}{of}") for stage, of in RUNS.items()}
    plan = Plan(dataset="planted", config="c", ds=DS, sequence=sequence, digest=run, settings={}, steps=steps)
    storage.create_once(plan_uri(settings, DS, sequence), plan.model_dump_json().encode())
    if users is not None:
        finish(steps["retrieve/search"], users, attempt)
    if published is not None:
        step = steps["publish"]
        out = manifest.Output(step.stage, DS, step.run, CUTOFFS, step.run_folder, attempt)
        told = out.manifest(rows={}, metrics={"seq": float(published)})
        storage.write_bytes(step.manifest_uri, told.model_dump_json().encode())


def step_of(settings: Settings, stage: str, run: str) -> Step:
    folder = storage.join(settings.artefacts, stage, f"ds={DS}", run)
    return Step(name=stage, stage=stage, ds=DS, run=run, run_folder=folder, cutoffs=CUTOFFS)


def finish(step: Step, users: list[str], attempt: str = "a1") -> None:
    out = manifest.Output(step.stage, DS, step.run, CUTOFFS, step.run_folder, attempt)
    for shard, names in enumerate((users[:1], users[1:])):
        write(out.uri("user_vectors", columns.part_name(shard)), {columns.USER: names})
    write(out.uri("item_vectors.parquet"), {columns.ITEM_INDEX: [1, 2], columns.ITEM: ["x", "y"]})
    uri = storage.join(step.run_folder, "manifest.json")
    storage.write_bytes(uri, out.manifest(rows={}).model_dump_json().encode())


def write(uri: str, named: dict[str, list[str] | list[int]]) -> None:
    Path(uri).parent.mkdir(parents=True, exist_ok=True)
    rows = len(next(iter(named.values())))
    frame = pl.DataFrame(named).with_columns(pl.Series(columns.VECTOR, [[0.5, 1.0]] * rows, dtype=pl.List(pl.Float32)))
    frame.write_parquet(uri)


def read(uri: str) -> pl.DataFrame:
    """As a reader is told to: from the manifest on."""
    told = json.loads(Path(uri).read_text())
    folder = Path(uri).parent / told["folder"]
    parts = [pl.DataFrame(pl.from_arrow(pq.read_table(folder / name))) for name in told["rows"]]
    assert [part.height for part in parts] == list(told["rows"].values())
    return pl.concat(parts)


def test_without_published_lists_vectors_are_those_of_the_newest_finished_search(tmp_path: Path) -> None:
    settings = planted_settings(tmp_path)
    with pytest.raises(MissingInputError, match="no finished retrieve/search of 2026-03-31"):
        find_vectors(settings, "user", DS)
    plan_with_search(settings, 1, ["old"])
    plan_with_search(settings, 2, ["u1", "u2", "u3"])
    plan_with_search(settings, 3, None)
    found = find_vectors(settings, "user", DS)
    assert (found.run, [Path(file.uri).name for file in found.files]) == (
        "run2",
        ["part-00000.parquet", "part-00001.parquet"],
    )
    assert [Path(file.uri).name for file in find_vectors(settings, "item", DS).files] == ["item_vectors.parquet"]


def test_a_trial_does_not_hide_the_vectors_behind_the_published_lists(tmp_path: Path) -> None:
    settings = planted_settings(tmp_path)
    plan_with_search(settings, 1, ["u1"], published=2)
    plan_with_search(settings, 2, ["u1"], published=1)
    plan_with_search(settings, 3, ["u1"])
    found = find_vectors(settings, "user", DS)
    assert (found.run, found.plan, found.published) == ("run1", 1, True), "published after plan 2's"
    assert str(found) == "user vectors of 2026-03-31: run run1, plan 1, whose lists were published"


def test_a_run_is_asked_for_by_the_name_of_its_search_or_of_its_lists(tmp_path: Path) -> None:
    settings = planted_settings(tmp_path)
    plan_with_search(settings, 1, ["u1"], published=1)
    plan_with_search(settings, 2, ["u1"])
    trial = find_vectors(settings, "user", DS, "run2")
    assert (trial.run, trial.plan, trial.published) == ("run2", 2, False)
    assert find_vectors(settings, "user", DS, "run2-lists") == trial
    with pytest.raises(MissingInputError, match=r"'run7' is no run .*: run1 \(plan 1, published\), run2 \(plan 2\)\."):
        find_vectors(settings, "user", DS, "run7")


def test_an_export_has_id_vector_and_run_below_kind_and_date(tmp_path: Path) -> None:
    settings = planted_settings(tmp_path)
    plan_with_search(settings, 1, ["u1", "u2", "u3"])
    into = str(tmp_path / "out")
    stored = export_vectors(find_vectors(settings, "user", DS), into)
    assert Path(stored).relative_to(into).as_posix() == "kind=user/ds=2026-03-31/manifest.json"
    frame = read(stored)
    assert frame.columns == ["id", "vector", "run"]
    assert frame["id"].to_list() == ["u1", "u2", "u3"]
    assert frame["run"].unique().to_list() == ["run1"]
    assert frame["vector"].to_list() == [[0.5, 1.0]] * 3
    assert read(export_vectors(find_vectors(settings, "item", DS), into))["id"].to_list() == ["x", "y"]


def test_exporting_again_replaces_it_and_leaves_nobody_who_was_forgotten(tmp_path: Path) -> None:
    settings = planted_settings(tmp_path)
    plan_with_search(settings, 1, ["u1", "u2", "u3"])
    into = str(tmp_path / "out")
    export_vectors(find_vectors(settings, "user", DS), into)
    step = step_of(settings, "retrieve/search", "run1")
    finish(step, ["u1", "u3"], attempt="a2")
    assert read(export_vectors(find_vectors(settings, "user", DS), into))["id"].to_list() == ["u1", "u3"]
    assert storage.list_folders(storage.join(into, "kind=user", f"ds={DS}")) == ["a2"]
    assert read(export_vectors(find_vectors(settings, "user", DS), into))["id"].to_list() == ["u1", "u3"]


def test_a_reader_sees_the_old_export_until_the_new_one_is_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = planted_settings(tmp_path)
    plan_with_search(settings, 1, ["u1", "u2"])
    into = str(tmp_path / "out")
    stored = export_vectors(find_vectors(settings, "user", DS), into)
    plan_with_search(settings, 2, ["u8", "u9"], attempt="a2")

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(storage, "write_bytes", killed)
    with pytest.raises(KeyboardInterrupt):
        export_vectors(find_vectors(settings, "user", DS), into)
    assert read(stored)["id"].to_list() == ["u1", "u2"]


def test_the_command_lists_files_or_says_where_the_copy_is(tmp_path: Path) -> None:
    settings = planted_settings(tmp_path)
    plan_with_search(settings, 1, ["u1", "u2"])
    asked = ["vectors", "--kind", "user", "--date", str(DS), "-c", str(tmp_path / "planted.toml")]
    plan_with_search(settings, 2, ["u1", "u2"], published=1)
    listed = CliRunner().invoke(app, asked)
    assert [Path(line).name for line in listed.stdout.split()] == ["part-00000.parquet", "part-00001.parquet"]
    assert all("/run2/" in line for line in listed.stdout.split())
    asked += ["--run", "run1"]
    copied = CliRunner().invoke(app, [*asked, "--into", str(tmp_path / "out"), "--json"])
    told = json.loads(copied.stdout)
    assert (told["kind"], told["ds"], told["run"], told["published"]) == ("user", str(DS), "run1", False)
    assert read(told["exported"])["id"].to_list() == ["u1", "u2"]
