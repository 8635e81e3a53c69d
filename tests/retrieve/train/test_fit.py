"""Early stopping on a planted sequence of values, and what a save holds."""

from __future__ import annotations

from datetime import UTC, date, datetime
from pathlib import Path

import numpy as np
import pytest

from recjobs import storage, tombstones
from recjobs.forgetting.runs import scrub_all
from recjobs.manifest import Inputs, Manifest, Output, cutoffs_of
from recjobs.retrieve.train.curves import Curves, Epoch
from recjobs.retrieve.train.fit import Watch, _best, _is_over
from recjobs.retrieve.train.resume import Progress, Resume
from recjobs.tombstones import Forgotten, Tombstone

DS = date(2026, 3, 1)
CUTOFFS = cutoffs_of(DS, train_lag_days=0, history_lag_days=0, label_days=1)


def epochs_until_stop(values: list[float | None], patience: int) -> tuple[int, int]:
    """How many epochs ran, and which one is kept."""
    watch = Watch(dict, "ndcg", 1, patience)
    curves = Curves()
    while not _is_over(curves, len(values), watch):
        value = values[len(curves.epochs)]
        said = None if value is None else {"ndcg": value, "recall": 0.0}
        curves.epochs.append(Epoch(len(curves.epochs) + 1, 1.0, 1.0, 0.0, 1.0, said))
        curves.best_epoch = _best(curves, watch)
    return len(curves.epochs), curves.best_epoch


@pytest.mark.parametrize(
    ("values", "patience", "ran", "kept"),
    [
        ([0.1, 0.3, 0.2, 0.2, 0.9], 2, 4, 2),
        ([0.1, 0.2, 0.3, 0.4], 1, 4, 4),
        ([0.3, 0.3, 0.3], 2, 3, 1),
        ([0.3, 0.1, 0.4, 0.1, 0.1, 0.1], 2, 5, 3),
        ([None, 0.3, None, 0.2, None, 0.1, None], 2, 6, 2),
    ],
)
def test_training_stops_after_patience_and_keeps_the_best(
    values: list[float | None], patience: int, ran: int, kept: int
) -> None:
    assert epochs_until_stop(values, patience) == (ran, kept)


def resume_of(artefacts: Path, attempt: str = "a1", folder: str = "x") -> Resume:
    run = storage.join(str(artefacts), "retrieve/train", f"ds={DS}", "r")
    extract = Manifest(stage="extract", ds=DS, run="e", attempt="e1", folder=folder, cutoffs=CUTOFFS, rows={})
    inputs = Inputs(DS, CUTOFFS, {"extract": extract}, tombstones=tombstones.folder_of(str(artefacts)))
    return Resume(inputs, Output("retrieve/train", DS, "r", CUTOFFS, run, attempt), "search", 0.0)


def progress_of(epochs: int) -> Progress:
    curves = Curves([1.5] * epochs, [Epoch(n + 1, 1.0, 1.0, 0.0, 1.0) for n in range(epochs)], epochs)
    return Progress(curves, [np.array([[epochs, 0.1]], np.float32), np.array(7, np.int64)])


def files_of(artefacts: Path) -> list[str]:
    return sorted({path.parent.name for path in artefacts.rglob("*") if path.is_file() and "resume" in path.parts})


def forget(artefacts: Path) -> Forgotten:
    digest = tombstones.digest_of("d", "u")
    stone = Tombstone(digest=digest, dataset="d", forgotten_at=datetime.now(UTC), who="ann", why="asked")
    tombstones.add(tombstones.folder_of(str(artefacts)), stone)
    return Forgotten("d", frozenset({digest}), frozenset({"u"}))


def test_what_was_saved_is_found_by_the_next_attempt_and_only_the_latest_is_kept(tmp_path: Path) -> None:
    first = resume_of(tmp_path)
    for epochs in (1, 2):
        first.save(progress_of(epochs))
    assert files_of(tmp_path) == ["00002-a1"]
    found = resume_of(tmp_path, "a2").found()
    assert found.curves == progress_of(2).curves
    assert found.last is not None
    assert [array.tolist() for array in found.last] == [[[2, np.float32(0.1)]], 7]
    assert found.last[0].dtype == np.float32


def test_other_inputs_do_not_find_it_and_delete_it(tmp_path: Path) -> None:
    resume_of(tmp_path).save(progress_of(1))
    assert resume_of(tmp_path, "a2", folder="y").found().last is None
    assert files_of(tmp_path) == []


def test_a_save_that_was_cut_off_does_not_count(tmp_path: Path) -> None:
    resume_of(tmp_path).save(progress_of(1))
    next(tmp_path.rglob("last.npz")).unlink()
    assert resume_of(tmp_path, "a2").found().last is None


def test_forgetting_deletes_it_and_nothing_is_saved_afterwards(tmp_path: Path) -> None:
    running = resume_of(tmp_path)
    running.save(progress_of(1))
    forgotten = forget(tmp_path)
    removed = scrub_all(str(tmp_path), forgotten).removed
    assert [one.where.split("/")[-1] for one in removed] == ["resume"]
    assert files_of(tmp_path) == []
    running.save(progress_of(2))
    assert files_of(tmp_path) == []


def test_somebody_forgotten_while_it_is_saved_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    running = resume_of(tmp_path)
    write = storage.write_bytes

    def forget_meanwhile(uri: str, content: bytes) -> None:
        write(uri, content)
        monkeypatch.undo()
        forget(tmp_path)

    monkeypatch.setattr(storage, "write_bytes", forget_meanwhile)
    running.save(progress_of(1))
    assert files_of(tmp_path) == []
