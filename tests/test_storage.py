"""Storage: whole files or none, created once, on this machine (buckets: see test_storage_bucket)."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from recjobs import storage
from recjobs.errors import MissingInputError


def test_writing_that_fails_leaves_nothing(tmp_path: Path) -> None:
    uri = str(tmp_path / "folder" / "file")

    def write_and_fail() -> None:
        with storage.writing(uri) as stream:
            stream.write(b"half")
            raise RuntimeError("killed")

    with pytest.raises(RuntimeError):
        write_and_fail()
    assert list((tmp_path / "folder").iterdir()) == []


def test_writing_that_fails_keeps_the_older_file(tmp_path: Path) -> None:
    uri = str(tmp_path / "file")
    storage.write_bytes(uri, b"old")
    with pytest.raises(RuntimeError), storage.writing(uri) as stream:
        stream.write(b"new")
        raise RuntimeError
    assert storage.read_bytes(uri) == b"old"


def test_of_many_creators_one_wins(tmp_path: Path) -> None:
    uri = str(tmp_path / "manifest.json")
    contents = [str(number).encode() * 1000 for number in range(16)]
    with ThreadPoolExecutor(16) as pool:
        won = list(pool.map(lambda content: storage.create_once(uri, content), contents))
    assert sum(won) == 1
    assert storage.read_bytes(uri) == contents[won.index(True)]
    assert [path.name for path in tmp_path.iterdir()] == ["manifest.json"]


def test_listing_is_by_name_and_passes_over_half_written_files(tmp_path: Path) -> None:
    for name in ("b/2", "a/1", ".hidden", "a/_SUCCESS", "_scratch/x"):
        storage.write_bytes(str(tmp_path / name), b"x")
    assert [file.name for file in storage.list_files(str(tmp_path))] == ["a/1", "b/2"]
    assert storage.list_folders(str(tmp_path)) == ["a", "b"]
    assert storage.list_files(str(tmp_path / "absent")) == []


def test_digest_follows_content(tmp_path: Path) -> None:
    first, second = str(tmp_path / "1"), str(tmp_path / "2")
    storage.write_bytes(first, b"same")
    storage.write_bytes(second, b"same")
    assert storage.digest(first) == storage.digest(second)
    storage.write_bytes(second, b"samE")
    assert storage.digest(first) != storage.digest(second)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(MissingInputError, match="absent: no such file"):
        storage.read_bytes(str(tmp_path / "absent"))


def test_deleting_says_how_many_went(tmp_path: Path) -> None:
    for name in ("a/1", "a/b/2"):
        storage.write_bytes(str(tmp_path / name), b"x")
    assert storage.delete_folder(str(tmp_path / "a")) == 2
    assert storage.delete_folder(str(tmp_path / "a")) == 0
