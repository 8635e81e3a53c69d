"""Storage: whole files or none, created once, on this machine and in a bucket (its faults: test_storage_bucket)."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from recjobs import storage
from recjobs.errors import MissingInputError, SettingsError
from tests import bucket


@pytest.fixture(params=["folder", "bucket"])
def top(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """An empty folder's URI."""
    if request.param == "folder":
        yield str(tmp_path)
        return
    with bucket.serve("shop") as (url, store):
        store.page = 2
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", url)
        storage._client.cache_clear()
        yield "gs://shop/some/prefix"
    storage._client.cache_clear()


def names(uri: str) -> list[str]:
    return [file.name for file in storage.list_files(uri)]


def test_what_was_written_is_read(top: str) -> None:
    uri = storage.join(top, "folder", "a file=1.bin")
    for content in (b"", b"first", bytes(range(256)) * 40_000):
        storage.write_bytes(uri, content)
        assert storage.read_bytes(uri) == content
        assert storage.list_files(top) == [storage.StoredFile(uri, "folder/a file=1.bin", len(content))]


def test_a_stream_can_be_sought_like_a_file(top: str) -> None:
    uri, table = storage.join(top, "part-00000.parquet"), pa.table({"a": [1, 2, 3], "b": ["x", "y", "z"]})
    with storage.writing(uri) as stream:
        pq.write_table(table, stream)
    with storage.reading(uri) as stream:
        assert pq.ParquetFile(stream).read(columns=["b"]) == table.select(["b"])
    with storage.reading(uri) as stream:
        assert pl.read_parquet(stream, columns=["a"])["a"].to_list() == [1, 2, 3]


def test_what_polars_writes_is_whole(top: str) -> None:
    frame = pl.DataFrame({"a": range(1000)})
    for write in (frame.write_parquet, frame.write_ipc):
        with storage.writing(storage.join(top, "frame")) as stream:
            write(stream)
        with storage.reading(storage.join(top, "frame")) as stream:
            assert (pl.read_parquet if write == frame.write_parquet else pl.read_ipc)(stream).equals(frame)


def test_writing_that_fails_leaves_nothing(top: str) -> None:
    uri = storage.join(top, "folder", "file")

    def write_and_fail() -> None:
        with storage.writing(uri) as stream:
            stream.write(b"half")
            raise RuntimeError("killed")

    with pytest.raises(RuntimeError):
        write_and_fail()
    assert not storage.exists(uri)
    assert storage.delete_folder(top) == 0


def test_writing_that_fails_keeps_the_older_file(top: str) -> None:
    uri = storage.join(top, "file")
    storage.write_bytes(uri, b"old")

    def write_and_fail() -> None:
        with storage.writing(uri) as stream:
            stream.write(b"new")
            raise RuntimeError("killed")

    with pytest.raises(RuntimeError):
        write_and_fail()
    assert storage.read_bytes(uri) == b"old"


@pytest.mark.parametrize("length", [1000, 9 << 20], ids=["one request", "resumable"])
def test_of_many_creators_one_wins(top: str, length: int) -> None:
    uri = storage.join(top, "manifest.json")
    creators = 16 if length < 1 << 20 else 3
    contents = [bytes([number]) * length for number in range(creators)]
    with ThreadPoolExecutor(creators) as pool:
        won = list(pool.map(lambda content: storage.create_once(uri, content), contents))
    assert sum(won) == 1
    assert storage.read_bytes(uri) == contents[won.index(True)]
    assert names(top) == ["manifest.json"]
    assert not storage.create_once(uri, contents[won.index(True)])


def test_nothing_else_stays_where_a_file_was_created(tmp_path: Path) -> None:
    assert storage.create_once(str(tmp_path / "file"), b"x")
    assert not storage.create_once(str(tmp_path / "file"), b"y")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_listing_is_by_name_and_passes_over_half_written_files(top: str) -> None:
    for name in ("b/2", "a/1", "a/b/c/3", "top", ".hidden", "a/_SUCCESS", "_scratch/x", "ab/c"):
        storage.write_bytes(storage.join(top, name), b"x")
    assert names(top) == ["a/1", "a/b/c/3", "ab/c", "b/2", "top"]
    assert names(storage.join(top, "a")) == ["1", "b/c/3"]
    assert storage.list_folders(top) == ["a", "ab", "b"]
    assert storage.list_folders(f"{top}/a/") == ["b"]


def test_a_folder_that_is_not_there_is_empty(top: str) -> None:
    absent = storage.join(top, "absent")
    assert (storage.list_files(absent), storage.list_folders(absent), storage.delete_folder(absent)) == ([], [], 0)
    with pytest.raises(MissingInputError, match="absent: no such folder"), storage.local_folder(absent):
        pass


def test_digest_follows_content(top: str) -> None:
    first, second = storage.join(top, "1"), storage.join(top, "2")
    storage.write_bytes(first, b"same")
    storage.write_bytes(second, b"same")
    assert storage.digest(first) == storage.digest(second)
    storage.write_bytes(second, b"samE")
    assert storage.digest(first) != storage.digest(second)
    storage.write_bytes(second, b"same")
    assert storage.digest(first) == storage.digest(second)


def test_digests_of_many_files_at_once(top: str) -> None:
    uris = [storage.join(top, str(number % 4), str(number)) for number in range(24)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda uri: storage.write_bytes(uri, uri[-1:].encode()), uris))
        digests = list(pool.map(storage.digest, uris))
    assert len(set(digests)) == 10
    assert digests == [storage.digest(uri) for uri in uris]


def test_a_missing_file_is_named(top: str) -> None:
    uri = storage.join(top, "absent")
    for use in (storage.read_bytes, storage.digest):
        with pytest.raises(MissingInputError, match=f"{uri}: (no such file|not found)"):
            use(uri)
    assert not storage.exists(uri)
    storage.delete_file(uri)


def test_deleting_says_how_many_went(top: str) -> None:
    for name in ("a/1", "a/b/2", "a/.hidden", "a/_x", "ab/3"):
        storage.write_bytes(storage.join(top, name), b"x")
    assert storage.delete_folder(storage.join(top, "a")) == 4
    assert storage.delete_folder(storage.join(top, "a")) == 0
    assert names(top) == ["ab/3"]
    storage.delete_file(storage.join(top, "ab/3"))
    assert names(top) == []


def test_a_folder_goes_there_and_back(top: str) -> None:
    contents = {"saved_model.pb": b"graph", "variables/variables.index": b"", "variables/data-0": b"1" * 100_000}
    with storage.writing_folder(storage.join(top, "model")) as folder:
        for name, content in contents.items():
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_bytes(content)
    assert names(storage.join(top, "model")) == sorted(contents)
    with storage.local_folder(storage.join(top, "model")) as folder:
        found = {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    assert found == contents
    assert folder.exists() != storage.is_remote(top)


def test_a_file_has_the_rights_of_any_other(tmp_path: Path) -> None:
    plain = tmp_path / "plain"
    plain.write_bytes(b"x")
    storage.write_bytes(str(tmp_path / "written"), b"x")
    assert storage.create_once(str(tmp_path / "created"), b"x")
    modes = {path.stat().st_mode for path in tmp_path.iterdir()}
    assert modes == {plain.stat().st_mode}


@pytest.mark.parametrize("below", ["", "deeper"])
def test_a_file_where_a_folder_has_to_be_is_told(tmp_path: Path, below: str) -> None:
    (tmp_path / "here").write_text("a file")
    with pytest.raises(SettingsError, match=r"here.*: a file is where a folder has to be"):
        storage.write_bytes(storage.join(str(tmp_path / "here"), *filter(None, [below]), "new"), b"")
    assert (tmp_path / "here").read_text() == "a file"
