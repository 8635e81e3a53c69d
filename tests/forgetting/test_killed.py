"""`forget` killed with SIGKILL at many points: each run is whole at any moment, and the next call finishes the job."""

from __future__ import annotations

import os
import random
import shutil
import signal
from collections.abc import Callable
from datetime import UTC, date, datetime
from multiprocessing import get_context
from pathlib import Path

import polars as pl
import pytest

from recjobs import columns as c
from recjobs import storage, tombstones
from recjobs.forgetting import runs
from recjobs.manifest import InputRef, Manifest, Output, cutoffs_of, digest_of, store
from recjobs.tombstones import Forgotten, Tombstone
from recjobs.tombstones import digest_of as digest_of_user
from tests import bucket
from tests.forgetting.night import files_with, users_of

DS = date(2026, 1, 10)
DATASET, USER = "planted", "needle@example.com"
KILLS, SEED = 12, 17
_CONTEXT = get_context("forkserver")
_CONTEXT.set_forkserver_preload(["pytest", "tests.forgetting.test_killed"])
_POINTS = ("copy_file", "replace_if", "delete_folder", "write_bytes", "writing", "create_once")
"""What forgetting does to storage: the process is killed before or after the n-th of these."""


def one_run(artefacts: str, stage: str, inputs: dict[str, Manifest], run: str) -> Manifest:
    """A finished run of `stage` with two parts of users, one of them with the user."""
    folder = storage.join(artefacts, stage, f"ds={DS}", run)
    out = Output(stage, DS, run, cutoffs_of(DS, train_lag_days=0, history_lag_days=0, label_days=1), folder)
    top = {"extract": "users", "compose": "lists/home"}.get(stage, "candidates")
    for part, users in enumerate((["u1", "u2", "u3"], [USER, "u4"])):
        rows = {c.USER: sorted(users), c.SCORE: [[0.5, 0.25]] * len(users)}
        _write(out.uri(top, c.part_name(part)), rows)
    _write(out.uri("items.parquet"), {c.ITEM: ["i1"]})
    manifest = out.manifest(rows={"users": 5}).model_copy(
        update={"inputs": {name: _reference(of) for name, of in inputs.items()}}
    )
    return store(manifest, folder)[1]


def _write(uri: str, columns: dict[str, list[object]]) -> None:
    with storage.writing(uri) as stream:
        pl.DataFrame(columns).write_parquet(stream)


def _uri(manifest: Manifest) -> str:
    return storage.join(manifest.folder.rsplit("/", 1)[0], "manifest.json")


def _reference(manifest: Manifest) -> InputRef:
    return InputRef(uri=_uri(manifest), digest=digest_of(storage.read_bytes(_uri(manifest))))


def chain(artefacts: str) -> None:
    extract = one_run(artefacts, "extract", {}, "aaaa")
    search = one_run(artefacts, "retrieve/search", {"extract": extract}, "bbbb")
    one_run(artefacts, "compose", {"extract": extract, "retrieve/search": search}, "cccc")


def scrub(artefacts: str) -> None:
    tombstones.add(tombstones.folder_of(artefacts), Tombstone(
        digest=digest_of_user(DATASET, USER), dataset=DATASET, forgotten_at=datetime.now(UTC), who="ann", why="asked"
    ))  # fmt: skip
    runs.scrub_all(artefacts, Forgotten(DATASET, frozenset({digest_of_user(DATASET, USER)}), frozenset({USER})))


def scrub_and_die(artefacts: str, at: int, after: bool) -> None:
    """Kills itself at the `at`-th call; ends by itself where there are fewer."""
    calls = 0

    def dying(real: Callable[..., object]) -> Callable[..., object]:
        def call(*values: object, **named: object) -> object:
            nonlocal calls
            calls += 1
            if calls == at and not after:
                os.kill(os.getpid(), signal.SIGKILL)
            result = real(*values, **named)
            if calls == at and after:
                os.kill(os.getpid(), signal.SIGKILL)
            return result

        return call

    for name in _POINTS:
        setattr(storage, name, dying(getattr(storage, name)))
    scrub(artefacts)


def assert_whole(artefacts: str) -> None:
    """Each run is as it was, or as it is to be; nothing between."""
    for run in runs.find_runs(artefacts):
        manifest = run.manifest
        assert manifest is not None
        top = next(name for name in ("users", "lists", "candidates") if manifest.parts(name))
        users = users_of(manifest, *(("lists", "home") if top == "lists" else (top,)))
        gone = digest_of_user(DATASET, USER) in manifest.forgotten
        others = ["u1", "u2", "u3", "u4"]
        assert sorted(users) == (others if gone else sorted([USER, *others]))
        assert manifest.rows["users"] == len(users)
        assert storage.exists(manifest.uri("items.parquet"))


def test_killed_anywhere_each_run_is_whole_and_the_next_call_finishes(tmp_path: Path) -> None:
    choose = random.Random(SEED)
    pristine = tmp_path / "pristine"
    killed = 0
    for number in range(KILLS):
        # Always at one place: manifests hold absolute addresses.
        artefacts = tmp_path / "artefacts"
        shutil.rmtree(artefacts, ignore_errors=True)
        if pristine.exists():
            shutil.copytree(pristine, artefacts)
        else:
            chain(str(artefacts))
            shutil.copytree(artefacts, pristine)
        for _ in range(choose.choice((1, 1, 2))):
            process = _CONTEXT.Process(
                target=scrub_and_die, args=(str(artefacts), choose.randint(1, 26), choose.random() < 0.5)
            )
            process.start()
            process.join(60)
            killed += process.exitcode == -signal.SIGKILL
            assert process.exitcode in (0, -signal.SIGKILL)
            assert_whole(str(artefacts))
        scrub(str(artefacts))
        assert_whole(str(artefacts))
        assert files_with(artefacts, USER) == [], number
        for run in runs.find_runs(str(artefacts)):
            assert run.manifest is not None
            assert list(run.attempts) == [run.manifest.folder]
            for reference in run.manifest.inputs.values():
                assert digest_of(storage.read_bytes(reference.uri)) == reference.digest
    assert killed >= KILLS * 2 // 3


def test_two_at_once_for_two_users_lose_neither(tmp_path: Path) -> None:
    """Both rewrite the same runs; the second of two that swap a manifest looks again."""
    chain(str(tmp_path))
    started = [_CONTEXT.Process(target=_scrub_one, args=(str(tmp_path), user)) for user in ("u1", USER, "u3")]
    for process in started:
        process.start()
    for process in started:
        process.join(60)
        assert process.exitcode == 0
    for user in ("u1", USER, "u3"):
        assert files_with(tmp_path, user) == []
    for run in runs.find_runs(str(tmp_path)):
        assert run.manifest is not None
        assert run.manifest.rows["users"] == 2
        assert len(run.manifest.forgotten) == 3


def test_an_attempt_that_finishes_at_this_moment_is_not_taken_for_a_dead_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chain(str(tmp_path))
    run = runs.find_runs(str(tmp_path))[0]
    manifest = run.manifest
    assert manifest is not None
    Path(run.uri).unlink()

    def held(_: str) -> bool:
        store(manifest, run.folder)
        return False

    monkeypatch.setattr(storage, "is_held", held)
    scrub(str(tmp_path))
    assert storage.exists(manifest.uri("items.parquet"))


def test_of_two_who_replace_the_same_the_second_is_told(tmp_path: Path) -> None:
    uri = str(tmp_path / "manifest.json")
    storage.write_bytes(uri, b"old")
    assert storage.replace_if(uri, b"old", b"first")
    assert not storage.replace_if(uri, b"old", b"second")
    assert storage.read_bytes(uri) == b"first"
    assert not storage.replace_if(str(tmp_path / "nothing.json"), b"", b"x")


def test_in_a_bucket_too(monkeypatch: pytest.MonkeyPatch) -> None:
    with bucket.serve("shop") as (url, store):
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", url)
        storage._client.cache_clear()
        root = "gs://shop/artefacts"
        chain(root)
        _write(f"{root}/extract/ds={DS}/dddd/deadbeef/users/part-00000.parquet", {c.USER: [USER, "u1"]})
        scrub(root)
        assert len(runs.find_runs(root)) == 4
        for name, stored in store.buckets["shop"].items():
            if name.endswith(".parquet") and "items" not in name:
                assert USER not in pl.read_parquet(stored.content)[c.USER].to_list()
            assert USER.encode() not in stored.content or name.endswith(".parquet")
        storage.delete_folder(f"{root}/extract/ds={DS}/dddd")
        assert_whole(root)
        uri = f"{root}/one.json"
        storage.write_bytes(uri, b"old")
        assert storage.replace_if(uri, b"old", b"first")
        assert not storage.replace_if(uri, b"old", b"second")
        assert not storage.replace_if(f"{root}/nothing.json", b"", b"x")
    storage._client.cache_clear()


def _scrub_one(artefacts: str, user: str) -> None:
    runs.scrub_all(artefacts, Forgotten(DATASET, frozenset({digest_of_user(DATASET, user)}), frozenset({user})))


def test_an_attempt_that_is_written_to_is_left_alone(tmp_path: Path) -> None:
    chain(str(tmp_path))
    running = tmp_path / "extract" / f"ds={DS}" / "aaaa" / "feedbeef"
    with storage.holding(str(running)):
        (running / "part.arrow").write_bytes(USER.encode())
        done = runs.scrub_all(
            str(tmp_path), Forgotten(DATASET, frozenset({digest_of_user(DATASET, USER)}), frozenset({USER}))
        )
        assert done.running == (f"extract/ds={DS}/aaaa/feedbeef",)
        assert (running / "part.arrow").exists()
    scrub(str(tmp_path))
    assert not running.exists()
