"""Tombstones: which users are to be left out of everything, without keeping their ids.

A tombstone is a small file `{artefacts}/forgotten/<digest>.json`, its name the digest of the user's
id. It is created once, stands until somebody removes it on purpose, and is what keeps a rebuild, a
backfill or a run in flight from bringing a user back whose events are still in the sources.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pydantic import BaseModel, ConfigDict

from recjobs import storage
from recjobs.errors import SettingsError

FOLDER = "forgotten"
_CELL_ENDS = re.compile(r"[,;\t\r\n\"]")
_NAME = re.compile(r"^([0-9a-f]{64})\.json$")
_LIFTED_NAME = re.compile(r"^([0-9a-f]{64}\.lifted-[0-9]{4})\.json$")


class Tombstone(BaseModel):
    """Why a user is left out, since when, and on whose word."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    digest: str
    dataset: str
    forgotten_at: datetime
    who: str
    why: str


@dataclass(frozen=True)
class Forgotten:
    """Says of a user's id whether it is one of those to leave out. Small and picklable: it travels to workers."""

    dataset: str
    digests: frozenset[str]
    known: frozenset[str] = frozenset()
    """The ids themselves, where somebody has named them: then nothing has to be hashed."""

    def __bool__(self) -> bool:
        return bool(self.digests)

    def names(self, user: str) -> bool:
        """Whether `user` is to be left out."""
        return user in self.known if self.known else digest_of(self.dataset, user) in self.digests

    def rows(self, users: pa.Array | pa.ChunkedArray) -> npt.NDArray[np.bool_]:
        """The rows whose user is to be left out, bool[len(users)]; a null is nobody. An id is hashed once."""
        if isinstance(users, pa.ChunkedArray):
            users = users.combine_chunks()
        if not pa.types.is_dictionary(users.type):
            users = users.dictionary_encode()
        distinct = users.dictionary.to_pylist()
        # One more for nulls, whose index is put behind the others.
        out = np.zeros(len(distinct) + 1, np.bool_)
        out[: len(distinct)] = [user is not None and self.names(user) for user in distinct]
        found: npt.NDArray[np.bool_] = out[users.indices.fill_null(len(distinct)).to_numpy(zero_copy_only=False)]
        return found


def digest_of(dataset: str, user: str) -> str:
    """What stands for the user in every record: SHA-256 of data set, a NUL and the id, in UTF-8, as 64 hex digits.

    Raises:
        SettingsError: the id is no text that any source could hold.
    """
    try:
        return hashlib.sha256(dataset.encode() + b"\0" + user.encode()).hexdigest()
    except UnicodeEncodeError:
        raise SettingsError(f"user id {user!r} is not UTF-8 text. Write the id as it stands in the sources.") from None


def names_forgotten(row: str, forgotten: Forgotten, columns: Sequence[str] = ("user_id",)) -> bool:
    """Whether a row of the quarantine, JSON as it stands there, is one of a user to leave out.

    A row that was cut into cells is of the user in one of `columns`. One that was not is text, and any of
    its cells may be the user.
    """
    cells = json.loads(row)
    if isinstance(cells, dict):
        found = [str(cells[column]) for column in columns if cells.get(column) is not None]
    else:
        found = _CELL_ENDS.split(str(cells))
    return any(forgotten.names(cell) or forgotten.names(cell.strip()) for cell in found)


def folder_of(artefacts: str) -> str:
    """Where the tombstones of a data set are."""
    return storage.join(artefacts, FOLDER)


def digests(folder: str) -> tuple[str, ...]:
    """The digests of all tombstones in `folder`, sorted."""
    return _listed(folder, _NAME)


def lifted(folder: str) -> tuple[str, ...]:
    """A name for each time that somebody was remembered again, sorted.

    Part of what a plan pins: without it a run after that would find the old one done, which has been rid of the user.
    """
    return _listed(folder, _LIFTED_NAME)


def _listed(folder: str, names: re.Pattern[str]) -> tuple[str, ...]:
    matches = [names.match(file.name) for file in storage.list_files(folder)]
    return tuple(sorted(match[1] for match in matches if match))


def add(folder: str, tombstone: Tombstone) -> bool:
    """Stores `tombstone`; False when there was one for this user, which stays as it is."""
    return storage.create_once(_uri(folder, tombstone.digest), tombstone.model_dump_json(indent=2).encode())


def lift(folder: str, record: Tombstone) -> bool:
    """Takes a tombstone away and leaves `record` of who did so, and when; False when there was no tombstone."""
    if not storage.exists(_uri(folder, record.digest)):
        return False
    number = 1 + sum(name.startswith(record.digest) for name in lifted(folder))
    content = record.model_dump_json(indent=2).encode()
    while not storage.create_once(storage.join(folder, f"{record.digest}.lifted-{number:04d}.json"), content):
        number += 1
    storage.delete_file(_uri(folder, record.digest))
    return True


def get(folder: str, digest: str) -> Tombstone | None:
    """The tombstone of that digest, or None."""
    if not storage.exists(_uri(folder, digest)):
        return None
    return Tombstone.model_validate_json(storage.read_bytes(_uri(folder, digest)))


def all_of(folder: str) -> list[Tombstone]:
    """Every tombstone in `folder`, by digest."""
    return [found for digest in digests(folder) if (found := get(folder, digest)) is not None]


def forgotten(dataset: str, found: Iterable[str]) -> Forgotten:
    """Those whose digests are `found`."""
    return Forgotten(dataset, frozenset(found))


def _uri(folder: str, digest: str) -> str:
    return storage.join(folder, f"{digest}.json")
