"""The files of one attempt: which of them hold forgotten users, and how each is written without them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

import pyarrow as pa

from recjobs import columns as c
from recjobs import storage
from recjobs.forgetting import documents, models, sequences, tables
from recjobs.forgetting.tables import Rows
from recjobs.shards import shard_of
from recjobs.storage import StoredFile
from recjobs.tombstones import Forgotten, digest_of

TRAIN = "retrieve/train"
_PART = re.compile(r"part-\d{5}\.(parquet|tfrecord)$")
_BY_SHARD = (
    "events",
    "waiting",
    "latest",
    "users",
    "recent",
    "sequences",
    "user_vectors",
    "candidates",
    "scored",
    "lists",
)
"""Folders whose part of that number holds a shard's users, whatever the artefact."""
_REPORT, _PAGE = "report.json", "report.html"


@dataclass(frozen=True)
class Held:
    """A file that holds forgotten users."""

    name: str
    """Below the attempt's folder; of a model, the bundle's name."""
    names: tuple[str, ...]
    """The files that are written anew."""
    removed: int
    """Rows, records, users shown or rows of an embedding that go."""
    write: Callable[[str], object]
    """Writes it below a folder, the one it is in too, without them."""
    rows: Rows | None = None


@dataclass(frozen=True)
class Scrub:
    """What to take out of an attempt of `stage`, and what must be known for it."""

    stage: str
    forgotten: Forgotten
    user_columns: tuple[str, ...] = (c.USER,)
    """What sources call users."""
    index: Mapping[str, int] = field(default_factory=dict)
    """By digest: the `user_index` in the extract that a model was trained on, of users who had one."""
    event_files: frozenset[str] = frozenset()
    complete: bool = True
    """Whether every shard has its part, so that their number says which one is the user's."""


def held_in(folder: str, scrub: Scrub) -> list[Held]:
    """The files below `folder` that hold forgotten users."""
    files = storage.list_files(folder)
    parts = Counter(_folder(file) for file in files)
    looked_into = [
        file for file in files if not scrub.complete or _may_hold(file, scrub.forgotten, parts[_folder(file)])
    ]
    held = [one for file in looked_into if (one := _held(file, scrub)) is not None]
    if scrub.stage == TRAIN and (rows := sorted({row for row in scrub.index.values() if row > 0})):
        held += _models(folder, [file.name for file in files], rows)
    report = next((file for file in files if file.name == _REPORT), None)
    if scrub.stage == "extract" and report is not None and held:
        held.append(_report(report, scrub, held))
    return held


def removed_by(held: Sequence[Held]) -> Counter[str]:
    """By the name of a manifest's row count: how many went."""
    gone: Counter[str] = Counter()
    for one in held:
        top, *rest = one.name.split("/")
        if top in ("events", "users", "sequences", "quarantine"):
            gone[top] += one.removed
        elif top in ("candidates", "scored") and one.rows is not None:
            gone.update({"users": one.removed, "pairs": one.rows.elements})
        elif top == "lists" and one.rows is not None:
            gone[f"lists/{rest[0]}"] += one.rows.elements
    first = min((one.name.split("/")[1] for one in held if one.name.startswith("lists/")), default=None)
    for one in held:
        if first is not None and one.rows is not None and one.name.startswith(f"lists/{first}/"):
            gone.update({"users": one.removed, "cold users": one.rows.cold})
    return gone


def index_of(held: Sequence[Held], forgotten: Forgotten) -> dict[str, int]:
    """By digest: the `user_index` that user states had of the forgotten, 0 for none."""
    rows = [one.rows for one in held if one.rows is not None]
    return {digest_of(forgotten.dataset, user): index or 0 for one in rows for user, index in one.index.items()}


def _held(file: StoredFile, scrub: Scrub) -> Held | None:
    forgotten = scrub.forgotten
    if file.name.endswith(".parquet"):
        rows = tables.rows_in_parquet(file.uri, forgotten, scrub.user_columns)
        if rows is None:
            return None
        write = partial(
            _at, file, partial(tables.rewrite_parquet, forgotten=forgotten, user_columns=scrub.user_columns)
        )
        return Held(file.name, (file.name,), rows.count, write, rows)
    if file.name.endswith(".tfrecord"):
        count = sequences.users_in_sequences(file.uri, forgotten)
        write = partial(_at, file, partial(sequences.rewrite_sequences, forgotten=forgotten))
        return Held(file.name, (file.name,), count, write) if count else None
    if scrub.stage == "evaluate" and file.name == _PAGE:
        page = storage.read_bytes(file.uri).decode()
        count = documents.samples_in(page, forgotten)
        content = documents.without_samples(page, forgotten).encode()
        return Held(file.name, (file.name,), count, partial(_put, file.name, content)) if count else None
    return None


def _at(file: StoredFile, rewrite: Callable[[str, str], object], folder: str) -> None:
    rewrite(file.uri, storage.join(folder, file.name))


def _put(name: str, content: bytes, folder: str) -> None:
    storage.write_bytes(storage.join(folder, name), content)


def _folder(file: StoredFile) -> str:
    return file.name.rpartition("/")[0]


def _may_hold(file: StoredFile, forgotten: Forgotten, parts: int) -> bool:
    """False where the user's shard is another one. On this machine a Parquet file's footer says it as cheaply."""
    cheap = file.name.endswith(".parquet") and not storage.is_remote(file.uri)
    if not forgotten.known or cheap or file.name.split("/")[0] not in _BY_SHARD or not _PART.search(file.name):
        return True
    shards = shard_of(pa.array(sorted(forgotten.known), pa.string()), parts)
    return int(file.name.rpartition("part-")[2][:5]) in shards


def _models(folder: str, names: Sequence[str], rows: Sequence[int]) -> list[Held]:
    held = []
    for bundle in models.bundles(names):
        uri = storage.join(folder, bundle)
        count = models.rows_in_bundle(uri, rows)
        if count:
            write = partial(_bundle_at, uri, bundle, rows)
            held.append(Held(bundle, models.files_of(bundle), count, write))
    return held


def _bundle_at(uri: str, bundle: str, rows: Sequence[int], folder: str) -> None:
    models.rewrite_bundle(uri, storage.join(folder, bundle), rows)


def _report(file: StoredFile, scrub: Scrub, held: Sequence[Held]) -> Held:
    quarantined = [row for one in held if one.rows is not None for row in one.rows.quarantined]
    events = sum(one.removed for one in held if one.name.startswith("events/"))
    content = documents.corrected_report(storage.read_bytes(file.uri), quarantined, events, scrub.event_files)
    return Held(file.name, (file.name,), len(quarantined), partial(_put, file.name, content))
