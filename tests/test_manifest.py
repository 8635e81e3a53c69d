"""Manifests: stored once, so that a zombie and its retry can't both win."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest

from recjobs import storage
from recjobs.errors import CorruptFileError, GateRefusedError, MissingInputError
from recjobs.manifest import MANIFEST_NAME, Check, Cutoffs, Inputs, Output, cutoffs_of, load, store

CUTOFFS = cutoffs_of(date(2026, 3, 31), train_lag_days=0, history_lag_days=0, label_days=1)


def attempt(folder: Path) -> Output:
    return Output("extract", date(2026, 3, 31), "run", CUTOFFS, str(folder))


def test_of_two_attempts_the_first_wins_and_the_other_is_removed(tmp_path: Path) -> None:
    first, second = attempt(tmp_path), attempt(tmp_path)
    for out in (first, second):
        storage.write_bytes(out.uri("items.parquet"), out.attempt.encode())
    uri, won = store(first.manifest(rows={"items": 1}), first.run_folder)
    _, counted = store(second.manifest(rows={"items": 2}), second.run_folder)
    assert counted == won == load(uri)
    assert counted.rows == {"items": 1}
    assert storage.read_bytes(counted.uri("items.parquet")) == first.attempt.encode()
    assert storage.list_files(second.folder) == []


def test_storing_twice_is_harmless(tmp_path: Path) -> None:
    out = attempt(tmp_path)
    storage.write_bytes(out.uri("x"), b"x")
    manifest = out.manifest(rows={})
    assert store(manifest, out.run_folder) == store(manifest, out.run_folder)
    assert storage.exists(out.uri("x"))


def test_a_broken_manifest_is_named(tmp_path: Path) -> None:
    uri = str(tmp_path / MANIFEST_NAME)
    storage.write_bytes(uri, b'{"stage": ')
    with pytest.raises(CorruptFileError, match=r"manifest\.json is no manifest .*run the stage again"):
        load(uri)


def test_a_failed_check_refuses_unless_it_only_warns(tmp_path: Path) -> None:
    warn = Check(name="blend", passed=False, value=0, limit=1, detail="no better", severity="warn")
    refuse = Check(name="full lists", passed=False, value=3, limit=0, detail="3 users have short lists")
    attempt(tmp_path).manifest(rows={}, checks=[warn]).raise_if_refused()
    with pytest.raises(GateRefusedError, match=r"full lists: 3 users have short lists\. The lists that are live stay"):
        attempt(tmp_path).manifest(rows={}, checks=[warn, refuse]).raise_if_refused()


def test_an_input_that_was_not_pinned_is_named() -> None:
    inputs = Inputs(date(2026, 3, 31), CUTOFFS, {})
    assert inputs.get("judged/compose") is None
    with pytest.raises(MissingInputError, match="'extract' was not pinned"):
        inputs["extract"]


def test_cutoffs_follow_the_data_date_less_their_lags() -> None:
    leave_one_out = cutoffs_of(date(2026, 3, 31), train_lag_days=1, history_lag_days=0, label_days=1)
    assert leave_one_out == Cutoffs(train_until=date(2026, 3, 30), history_until=date(2026, 3, 31), label_days=1)
