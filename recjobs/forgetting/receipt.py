"""The receipt of a forgotten user: what was removed where, and what can't be reached. It does not hold the id."""

from __future__ import annotations

from datetime import datetime

from pydantic import BaseModel, ConfigDict

from recjobs import storage

FOLDER = "receipts"


class _Record(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Removed(_Record):
    """So many rows of `what`, below the artefacts' folder or in the database."""

    where: str
    what: str
    removed: int


class Receipt(_Record):
    """What one call of `forget` did."""

    dataset: str
    digest: str
    """SHA-256 of data set, NUL and user id: proves whom it is about to those who know the id."""
    forgotten_at: datetime
    """When the tombstone was set: by this call, or by an earlier one."""
    finished_at: datetime
    who: str
    why: str
    removed: tuple[Removed, ...]
    running: tuple[str, ...] = ()
    """Attempts that are being written to now: they drop the user before they finish."""
    not_reached: tuple[str, ...] = ()
    """Where the user may still be."""

    @property
    def total(self) -> int:
        """Everything that was removed."""
        return sum(one.removed for one in self.removed)


def store(receipt: Receipt, artefacts: str) -> str:
    """Stores the receipt under the next number of its user; returns its URI."""
    folder = storage.join(artefacts, FOLDER)
    number = 1 + sum(file.name.startswith(receipt.digest) for file in storage.list_files(folder))
    content = receipt.model_dump_json(indent=2).encode()
    while not storage.create_once(uri := storage.join(folder, f"{receipt.digest}-{number:04d}.json"), content):
        number += 1
    return uri
