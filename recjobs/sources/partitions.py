"""Which files a source has: day partitions, dated snapshots, undated files.

Two layouts are known below a source's path, and both may stand side by side:
`date=YYYY-MM-DD/….parquet` folders (Hive style, files at any depth) and flat
`YYYY-MM-DD.parquet` files. A day's partition is there when it has at least one file; the file may
hold no rows.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date

from recjobs import storage
from recjobs.errors import ContractError, MissingInputError
from recjobs.storage import StoredFile

_FOLDER = re.compile(r"^date=([^/]*)/")
_DAY = re.compile(r"^\d{4}-\d{2}-\d{2}$")
_LAYOUTS = "date=YYYY-MM-DD/*.{0} folders or YYYY-MM-DD.{0} files"


@dataclass(frozen=True)
class Partitions:
    """The files of one source, each day's and the undated ones in the order of their names."""

    path: str
    dated: Mapping[date, tuple[StoredFile, ...]]
    undated: tuple[StoredFile, ...]

    def days(self) -> list[date]:
        """The days that have a file, ascending."""
        return sorted(self.dated)


def list_partitions(path: str, extension: str) -> Partitions:
    """The partitions of the source at `path` (absolute, or `gs://`), from one listing.

    Files of another extension are passed over.

    Raises:
        MissingInputError: there is no file with this extension.
        ContractError: a name holds a date that does not exist.
    """
    files = storage.list_files(path)
    ours = [file for file in files if file.name.endswith(f".{extension}")]
    if not ours:
        raise MissingInputError(f"{path}: {_why_empty(files, extension)}", path=path)
    dated: dict[date, list[StoredFile]] = {}
    undated: list[StoredFile] = []
    for file in ours:
        day = _day_of(file, extension)
        if day is None:
            undated.append(file)
        else:
            dated.setdefault(day, []).append(file)
    return Partitions(path, {day: tuple(found) for day, found in dated.items()}, tuple(undated))


def _day_of(file: StoredFile, extension: str) -> date | None:
    folder = _FOLDER.match(file.name)
    text = folder.group(1) if folder else file.name.removesuffix(f".{extension}")
    if not folder and not _DAY.match(text):
        return None
    try:
        return date.fromisoformat(text)
    except ValueError as error:
        raise ContractError(
            f"{file.uri}: {text!r} is no date. Name partitions date=YYYY-MM-DD or YYYY-MM-DD.{extension}.",
            file=file.uri,
        ) from error


def _why_empty(files: list[StoredFile], extension: str) -> str:
    if not files:
        return f"no such folder, or it is empty. Deliver {_LAYOUTS.format(extension)} there, or correct the path."
    other = "csv" if extension == "parquet" else "parquet"
    if any(file.name.endswith(f".{other}") for file in files):
        return f'it has .{other} files but no .{extension} ones. Set format = "{other}" in its settings section.'
    return f"it has {len(files)} files but none ends in .{extension}. Deliver {_LAYOUTS.format(extension)}."
