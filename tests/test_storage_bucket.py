"""Buckets alone: what they refuse, what they may grant later, and a stage that runs on one."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import google.auth
import pyarrow.parquet as pq
import pytest
from google.auth.exceptions import DefaultCredentialsError

from recjobs import stages, storage
from recjobs.errors import MissingInputError, StorageUnavailableError
from recjobs.manifest import load
from recjobs.plan import plan_run
from recjobs.publish.config import DatabaseConfig
from tests import bucket
from tests.cli.shop import NEWEST, open_shop

TOP = "gs://shop/prefix"
FILE = f"{TOP}/file"


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> Iterator[bucket.Store]:
    """An empty bucket `shop`."""
    with bucket.serve("shop") as (url, made):
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", url)
        storage._client.cache_clear()
        yield made
    storage._client.cache_clear()


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storage, "PATIENCE_SECONDS", 0.3)


def fetch_folder(uri: str) -> None:
    with storage.local_folder(uri):
        pass


def send_folder(uri: str) -> None:
    with storage.writing_folder(uri) as folder:
        (folder / "file").write_bytes(b"x")


USES: dict[str, Callable[[], Any]] = {
    "read": lambda: storage.read_bytes(FILE),
    "write": lambda: storage.write_bytes(FILE, b"x"),
    "write much": lambda: storage.write_bytes(FILE, b"x" * (9 << 20)),
    "create": lambda: storage.create_once(FILE, b"x"),
    "exists": lambda: storage.exists(FILE),
    "list": lambda: storage.list_files(TOP),
    "list folders": lambda: storage.list_folders(TOP),
    "digest": lambda: storage.digest(FILE),
    "delete": lambda: storage.delete_file(FILE),
    "delete folder": lambda: storage.delete_folder(TOP),
    "fetch folder": lambda: fetch_folder(TOP),
    "send folder": lambda: send_folder(TOP),
}
every_use = pytest.mark.parametrize("use", USES.values(), ids=USES)


@every_use
def test_a_bucket_that_forbids_says_which_role_is_missing(store: bucket.Store, use: Callable[[], Any]) -> None:
    store.refuse(403)
    with pytest.raises(MissingInputError, match=rf"{TOP}.*may not use it\. Grant it Storage Object User on the bucket"):
        use()


@every_use
@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.usefixtures("impatient")
def test_a_bucket_that_does_not_answer_can_be_tried_again(
    store: bucket.Store, use: Callable[[], Any], status: int
) -> None:
    store.refuse(status)
    started = time.perf_counter()
    with pytest.raises(StorageUnavailableError, match=f"{TOP}.*the bucket does not answer"):
        use()
    assert time.perf_counter() - started < 5


@every_use
@pytest.mark.usefixtures("impatient")
def test_a_bucket_behind_a_closed_port_can_be_tried_again(
    monkeypatch: pytest.MonkeyPatch, use: Callable[[], Any]
) -> None:
    with bucket.serve() as (url, _):
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", url)
    storage._client.cache_clear()
    with pytest.raises(StorageUnavailableError, match=TOP):
        use()
    storage._client.cache_clear()


@every_use
def test_a_moment_of_overload_is_not_noticed(store: bucket.Store, use: Callable[[], Any]) -> None:
    storage.write_bytes(f"{TOP}/other", b"x")
    if use is not USES["create"]:
        storage.write_bytes(FILE, b"x")
    store.refuse(503, times=1)
    use()
    assert store.refused == []


@every_use
def test_a_bucket_that_is_not_there_is_named(store: bucket.Store, use: Callable[[], Any]) -> None:
    del store.buckets["shop"]
    if use in (USES["exists"], USES["delete"]):
        assert not use()
        return
    with pytest.raises(MissingInputError, match=rf"{TOP}.*: not found\. Check the bucket's name"):
        use()


def test_another_refusal_is_told(store: bucket.Store) -> None:
    store.refuse(400, times=1)
    with pytest.raises(MissingInputError, match=rf"{TOP}: the bucket refuses \(400"):
        storage.list_files(TOP)


def test_credentials_that_are_refused_are_told(store: bucket.Store) -> None:
    store.refuse(401)
    with pytest.raises(MissingInputError, match=f"{FILE}: no Google credentials"):
        storage.read_bytes(FILE)


@pytest.mark.parametrize("uri", ["gs://", "gs:///file"])
def test_a_uri_without_a_bucket_is_told(uri: str) -> None:
    with pytest.raises(MissingInputError, match=f"'{uri}' names no bucket"):
        storage.list_files(uri)


@every_use
def test_without_credentials_the_fix_is_told(monkeypatch: pytest.MonkeyPatch, use: Callable[[], Any]) -> None:
    def none(*_: Any, **__: Any) -> None:
        raise DefaultCredentialsError("none found")

    monkeypatch.delenv("STORAGE_EMULATOR_HOST", raising=False)
    monkeypatch.setattr(google.auth, "default", none)
    storage._client.cache_clear()
    with pytest.raises(MissingInputError, match=f"{TOP}.*: no Google credentials. Set GOOGLE_APPLICATION_CREDENTIALS"):
        use()


@pytest.mark.usefixtures("impatient")
def test_a_damaged_file_is_not_given_out(store: bucket.Store) -> None:
    storage.write_bytes(FILE, b"whole")
    store.damaged = True
    with pytest.raises(StorageUnavailableError, match="Checksum mismatch"):
        storage.read_bytes(FILE)
    with pytest.raises(StorageUnavailableError, match="Checksum mismatch"):
        fetch_folder(TOP)


def test_a_download_that_breaks_off_goes_on(store: bucket.Store) -> None:
    content = os.urandom(3 << 20)
    storage.write_bytes(FILE, content)
    store.broken_off = 2
    assert storage.read_bytes(FILE) == content
    assert store.broken_off == 0


@pytest.mark.usefixtures("impatient")
def test_a_download_that_never_ends_well_can_be_tried_again(store: bucket.Store) -> None:
    storage.write_bytes(FILE, os.urandom(1 << 20))
    store.broken_off = 1000
    with pytest.raises(StorageUnavailableError, match=FILE):
        storage.read_bytes(FILE)


def test_an_address_without_its_scheme_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", "localhost:4443")
    storage._client.cache_clear()
    with pytest.raises(StorageUnavailableError, match="localhost:4443"):
        storage.read_bytes(FILE)
    storage._client.cache_clear()


def test_the_winner_knows_it_though_its_answer_was_lost(store: bucket.Store) -> None:
    store.lost_answers = 1
    assert storage.create_once(FILE, b"mine")
    assert store.requests[:2] == ["POST /upload/storage/v1/b/shop/o"] * 2
    assert not storage.create_once(FILE, b"mine")


def test_lost_answers_leave_whole_files(store: bucket.Store) -> None:
    store.lost_answers = 1
    storage.write_bytes(FILE, b"whole")
    store.lost_answers = 1
    storage.delete_file(FILE)
    assert store.buckets["shop"] == {}


def test_files_that_another_removes_meanwhile_are_no_fault(store: bucket.Store) -> None:
    for number in range(5):
        storage.write_bytes(f"{TOP}/{number}", b"x")
    store.refuse(404, times=1, where="DELETE /storage/v1/b/shop/o/prefix/3")
    assert storage.delete_folder(TOP) == 5


@pytest.mark.usefixtures("store")
def test_what_the_block_raises_is_its_own() -> None:
    storage.write_bytes(FILE, b"x")
    with pytest.raises(BrokenPipeError), storage.reading(FILE):
        raise BrokenPipeError
    with pytest.raises(BrokenPipeError), storage.writing(FILE):
        raise BrokenPipeError


def test_listing_folders_does_not_walk_the_tree(store: bucket.Store) -> None:
    store.page = 10
    for day in range(25):
        for part in range(10):
            store.buckets["shop"][f"prefix/ds={day:02d}/part-{part}"] = bucket.StoredObject(b"", {}, 1)
    assert storage.list_folders(TOP) == [f"ds={day:02d}" for day in range(25)]
    assert len(store.requests) == 3
    assert len(storage.list_files(TOP)) == 250
    assert len(store.requests) == 28


def test_a_console_folder_is_no_file(store: bucket.Store) -> None:
    store.buckets["shop"] = {name: bucket.StoredObject(b"", {}, 1) for name in ("prefix/", "prefix/a/", "prefix/a/b")}
    assert [file.name for file in storage.list_files(TOP)] == ["a/b"]
    assert storage.list_folders(TOP) == ["a"]
    assert [file.name for file in storage.list_files("gs://shop")] == ["prefix/a/b"]
    assert storage.delete_folder("gs://shop") == 3


@pytest.mark.usefixtures("store")
def test_a_forked_process_has_connections_of_its_own() -> None:
    storage.write_bytes(FILE, b"x")
    ours = storage._client()
    assert storage._client() is ours
    child = os.fork()
    if child == 0:
        os._exit(0 if storage._client() is not ours and storage.read_bytes(FILE) == b"x" else 1)
    assert os.waitpid(child, 0)[1] == 0


def test_a_stage_runs_on_a_bucket(store: bucket.Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    store.page = 7
    config = move_shop(tmp_path)
    plan = plan_run(config, NEWEST)
    assert plan.startswith("gs://shop/artefacts/planted/plan/")
    assert plan_run(config, NEWEST) == plan
    uri = stages.run_step(plan, "extract")
    manifest = load(uri)
    assert (manifest.rows["users"], len(manifest.sources.events)) == (20, 6)
    assert all(source.digest.startswith("crc32c:") for source in manifest.sources.events)
    assert not any("/_" in name for name in store.buckets["shop"])  # no scratch is left
    for kind in ("events", "users"):
        shards = manifest.shards(kind)
        names = {file.name.rpartition("/")[2] for shard in shards for file in shard}
        assert (len(shards), sorted(names)) == (2, ["part-00000.parquet", "part-00001.parquet"])
        assert sum(rows(file.uri) for shard in shards for file in shard) == manifest.rows[kind]
    written = dict(store.buckets["shop"])
    assert stages.run_step(plan, "extract") == uri
    assert store.buckets["shop"] == written


@pytest.mark.usefixtures("store")
def test_a_source_that_changed_in_the_bucket_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    plan = plan_run(move_shop(tmp_path), NEWEST)
    storage.write_bytes(f"gs://shop/events/date={NEWEST}/part-0.parquet", b"PAR1")
    with pytest.raises(MissingInputError, match=f"gs://shop/.*date={NEWEST}.* has changed since the run was planned"):
        stages.run_step(plan, "extract")


def move_shop(folder: Path) -> str:
    """A small shop whose events are in the bucket `shop`, where its artefacts shall go; its config file."""
    shop = open_shop(folder, DatabaseConfig())
    for path in (folder / "events").rglob("*.parquet"):
        storage.write_bytes(f"gs://shop/{path.relative_to(folder)}", path.read_bytes())
        path.unlink()
    text = shop.config.read_text().replace(str(folder), "gs://shop")
    shop.config.write_text(text.replace('[database]\nurl = ""\n', ""))
    return str(shop.config)


def rows(uri: str) -> int:
    with storage.reading(uri) as stream:
        return int(pq.ParquetFile(stream).metadata.num_rows)
