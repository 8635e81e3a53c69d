"""Vectors of users and items for others to use: where a date's are, and a copy of them under a stable name.

`retrieve/search` keeps its vectors in its artefact, which nobody sees before it is whole, which is never changed, and
which forgetting reaches. So they are used there, by a manifest; `export_vectors` copies them for readers who need a
path that stays. Such a copy is outside the artefacts: forgetting a user does not reach it until it is exported again.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Literal

import pyarrow as pa
import pyarrow.parquet as pq

from recjobs import columns, storage
from recjobs.errors import MissingInputError
from recjobs.flow import PUBLISH
from recjobs.manifest import MANIFEST_NAME, Manifest
from recjobs.plan import Plan, plans_of
from recjobs.settings import Settings
from recjobs.stages import manifest_of

Kind = Literal["user", "item"]
RUN, ID = "run", "id"
SEARCH, LISTS = "retrieve/search", "compose"
_PLACES = {"user": ("user_vectors", columns.USER), "item": ("item_vectors.parquet", columns.ITEM)}


@dataclass(frozen=True)
class Vectors:
    """The vectors of one kind and date: the files, and the run that made them."""

    kind: Kind
    ds: date
    run: str
    attempt: str
    files: tuple[storage.StoredFile, ...]
    plan: int
    published: bool
    """Whether the lists made from them were published."""

    def __str__(self) -> str:
        published = "whose lists were published" if self.published else "whose lists were not published"
        return f"{self.kind} vectors of {self.ds}: run {self.run}, plan {self.plan}, {published}"


@dataclass(frozen=True)
class _Found:
    """A plan with a finished search."""

    plan: Plan
    search: Manifest
    publication: float | None
    """Where its lists stand among those of the date that were published; None where they were not."""

    @property
    def published(self) -> bool:
        return self.publication is not None

    @property
    def rank(self) -> tuple[float, int]:
        """The highest is the default: the lists published last, else the newest plan."""
        return -1.0 if self.publication is None else self.publication, self.plan.sequence

    def is_run(self, run: str) -> bool:
        """Whether `run` names the search, or the lists as `recjobs versions` names them."""
        return run in (self.plan.steps[step].run for step in (SEARCH, LISTS))


def find_vectors(settings: Settings, kind: Kind, ds: date, run: str | None = None) -> Vectors:
    """The vectors of `ds` behind its published lists; those of the newest finished search where none were published.

    With several published, the ones whose generation has the highest number. `run` names others: the run of the
    search, or that of the lists as `recjobs versions` tells it.

    Raises:
        MissingInputError: no search of that date is finished, or none is `run`'s. The message has those that are.
    """
    found = [one for plan in plans_of(settings, ds) if (one := _found(plan)) is not None]
    if not found:
        raise MissingInputError(
            f"{settings.dataset}: no finished {SEARCH} of {ds}, so there are no vectors. "
            f"Run `recjobs run --date {ds}`.",
            ds=str(ds),
        )
    chosen = max((one for one in found if run is None or one.is_run(run)), key=lambda one: one.rank, default=None)
    if chosen is None:
        raise MissingInputError(
            f"{settings.dataset}: {run!r} is no run of {ds} with vectors. There are: {_told(found)}.",
            ds=str(ds),
            run=run,
        )
    search = chosen.search
    return Vectors(kind, ds, search.run, search.attempt, _files(search, kind), chosen.plan.sequence, chosen.published)


def _found(plan: Plan) -> _Found | None:
    search = manifest_of(plan, SEARCH)
    if search is None:
        return None
    publication = manifest_of(plan, PUBLISH)
    return _Found(plan, search, None if publication is None else publication.metrics["seq"])


def _told(found: Sequence[_Found]) -> str:
    return ", ".join(
        f"{one.search.run} (plan {one.plan.sequence}{', published' if one.published else ''})" for one in found
    )


def export_vectors(vectors: Vectors, into: str) -> str:
    """Copies `vectors` below `into` and returns the manifest's URI.

    `{into}/kind={kind}/ds={date}/{attempt}/part-*.parquet` with `id`, `vector` and `run`; then, in one step,
    `{into}/kind={kind}/ds={date}/manifest.json` names the folder that counts (`folder`), its files and rows. A reader
    who starts from the manifest never sees a half. Exporting again replaces it and deletes what was there before, so
    that a user forgotten since is gone; who is still reading that misses a file, and starts again from the manifest.
    """
    home = storage.join(into, f"kind={vectors.kind}", f"ds={vectors.ds}")
    stored = storage.join(home, MANIFEST_NAME)
    rows = {}
    for number, file in enumerate(vectors.files):
        name = columns.part_name(number)
        rows[name] = _copy(vectors, file.uri, storage.join(home, vectors.attempt, name))
    told = {"kind": vectors.kind, "ds": str(vectors.ds), "run": vectors.run, "folder": vectors.attempt, "rows": rows}
    storage.write_bytes(stored, json.dumps(told, indent=1).encode())
    for folder in set(storage.list_folders(home)) - {vectors.attempt}:
        storage.delete_folder(storage.join(home, folder))
    return stored


def _files(search: Manifest, kind: Kind) -> tuple[storage.StoredFile, ...]:
    place = _PLACES[kind][0]
    if kind == "item":
        return tuple(file for file in search.parts() if file.name == place)
    return tuple(search.parts(place))


def _copy(vectors: Vectors, source: str, target: str) -> int:
    with storage.reading(source) as stream:
        table = pq.read_table(stream, columns=[_PLACES[vectors.kind][1], columns.VECTOR])
    run = pa.DictionaryArray.from_arrays(pa.array([0] * table.num_rows, pa.int8()), pa.array([vectors.run]))
    with storage.writing(target) as stream:
        pq.write_table(table.rename_columns([ID, columns.VECTOR]).append_column(RUN, run), stream)
    return int(table.num_rows)
