"""The lists of one shard: read in blocks of users, passed through the steps, written, counted."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from recjobs import columns, storage
from recjobs.columns import COLD, ITEM_INDEX, LIST_SCHEMA, REASON, SCORE, WARM
from recjobs.compose.audience import NEEDED, ROW, audience_of
from recjobs.compose.checks import faults_of
from recjobs.compose.config import ComposeConfig
from recjobs.compose.popularity import Popularity
from recjobs.compose.shelf import Shelf
from recjobs.compose.steps import LISTS, ORIGIN, Origin, Scene, StepCounts, run_steps
from recjobs.errors import CorruptFileError, ModelError
from recjobs.ragged import flat_lists, list_array, rows_of

logger = logging.getLogger(__name__)

ORIGINS = {origin: f"from {origin.name.lower()}" for origin in Origin}


@dataclass(frozen=True)
class ShardFiles:
    """The parts of one shard: what is read, and by surface what is written."""

    shard: int
    users: str
    scored: str
    lists: dict[str, str]


@dataclass(frozen=True)
class Workshop:
    """What all shards need: loaded once in each worker."""

    config: ComposeConfig
    popularity: Popularity
    """Of what may be shown somewhere; its segments are those of every surface."""
    shelves: Mapping[str, Shelf]
    """By surface."""


@dataclass
class Tally:
    """What was counted while lists were made. Adds up over shards."""

    users: int = 0
    cold: int = 0
    steps: dict[str, dict[str, StepCounts]] = field(default_factory=dict)
    """By surface and step."""
    origins: dict[str, dict[str, int]] = field(default_factory=dict)
    """By surface: places by where their item came from."""
    faults: dict[str, dict[str, int]] = field(default_factory=dict)
    """By surface: faults by kind."""

    def add(self, other: Tally) -> None:
        """Counts `other` in."""
        self.users += other.users
        self.cold += other.cold
        for surface, steps in other.steps.items():
            mine = self.steps.setdefault(surface, {})
            for name, counts in steps.items():
                mine[name] = mine.get(name, StepCounts()) + counts
        for ours, theirs in ((self.origins, other.origins), (self.faults, other.faults)):
            for surface, kinds in theirs.items():
                sums = ours.setdefault(surface, {})
                for kind, count in kinds.items():
                    sums[kind] = sums.get(kind, 0) + count


def combine(tallies: Iterable[Tally]) -> Tally:
    """The sum of `tallies`."""
    total = Tally()
    for tally in tallies:
        total.add(tally)
    return total


def compose_shard(files: ShardFiles, workshop: Workshop) -> Tally:
    """Writes the lists of one shard for every surface and says what was done.

    Raises:
        CorruptFileError: the scored part is not of the same users as the user states.
        ModelError: a score is not finite.
    """
    started = time.perf_counter()
    total = Tally()
    explores = [surface for surface, shelf in workshop.shelves.items() if shelf.config.explores]
    with _writers(files.lists, explores) as writers:
        for users, scored in _blocks(files, workshop.config):
            total.add(_compose_block(users, scored, files.scored, workshop, writers))
    seconds = time.perf_counter() - started
    logger.info("shard %d: lists of %d users in %.1f s", files.shard, total.users, seconds)
    return total


@contextlib.contextmanager
def _writers(uris: Mapping[str, str], explores: Sequence[str]) -> Iterator[dict[str, pq.ParquetWriter]]:
    """A Parquet writer for each surface; the files appear when all is written."""
    schemas = {surface: list_schema(explores=surface in explores) for surface in uris}
    with contextlib.ExitStack() as stack:
        streams = {surface: stack.enter_context(storage.writing(uri)) for surface, uri in uris.items()}
        yield {
            surface: stack.enter_context(pq.ParquetWriter(stream, schemas[surface], compression="zstd"))
            for surface, stream in streams.items()
        }


def _blocks(files: ShardFiles, config: ComposeConfig) -> Iterator[tuple[pa.Table, pa.Table]]:
    """The user states and the scored candidates of the same users, `block_users` at a time."""
    users = _read(files.users, [*NEEDED, *(name for name in config.segment_by if name not in NEEDED)])
    scored = _read(files.scored, [columns.USER, ITEM_INDEX, SCORE])
    if not users.column(columns.USER).equals(scored.column(columns.USER)):
        raise CorruptFileError(
            f"{files.scored} ({scored.num_rows} users) is not of the users in {files.users} ({users.num_rows} users). "
            "Both must come from one run; run rank/score again.",
            uri=files.scored,
        )
    for start in range(0, users.num_rows, config.block_users):
        yield users.slice(start, config.block_users), scored.slice(start, config.block_users)


def _read(uri: str, names: Sequence[str]) -> pa.Table:
    with storage.reading(uri) as stream:
        table = pq.read_table(stream, columns=list(names))
    place = table.column_names.index(columns.USER)
    return table.set_column(place, columns.USER, table.column(columns.USER).cast(pa.string()))


def _compose_block(
    users: pa.Table, scored: pa.Table, scored_uri: str, workshop: Workshop, writers: Mapping[str, pq.ParquetWriter]
) -> Tally:
    audience = audience_of(users, workshop.config, workshop.popularity)
    candidates = candidate_lists(scored, scored_uri)
    total = Tally(users=audience.size, cold=int(audience.cold.sum()))
    for surface, shelf in workshop.shelves.items():
        scene = shelf.scene(audience)
        lists, total.steps[surface] = run_steps(shelf.steps, candidates, scene)
        table = list_table(lists, scene)
        total.origins[surface] = _origins(lists)
        total.faults[surface] = faults_of(table, audience.user_id, scene.catalogue, scene.length)
        writers[surface].write_table(table)
    return total


def candidate_lists(scored: pa.Table, uri: str) -> pl.DataFrame:
    """Scored candidates as the table that steps pass on (`LISTS`).

    Raises:
        ModelError: a score is not finite.
    """
    items, lengths = flat_lists(scored.column(ITEM_INDEX))
    scores, _ = flat_lists(scored.column(SCORE))
    bad = int((~np.isfinite(scores)).sum())
    if bad:
        raise ModelError(
            f"{uri}: {bad} of {len(scores)} scores are not finite. Look at rank/train's metrics, then run it again.",
            uri=uri,
        )
    return pl.DataFrame(
        {
            ROW: rows_of(lengths),
            ITEM_INDEX: items.astype(np.int32),
            SCORE: scores.astype(np.float32),
            ORIGIN: np.full(len(items), Origin.MODEL, np.int8),
        },
        schema=LISTS,
    )


def list_schema(*, explores: bool) -> pa.Schema:
    """The columns of lists; where a surface explores, with the propensity."""
    return LIST_SCHEMA.append(columns.PROPENSITY_FIELD) if explores else LIST_SCHEMA


def list_table(lists: pl.DataFrame, scene: Scene) -> pa.Table:
    """Finished lists (`list_schema`), a row per user of the scene's audience, in its order."""
    lengths = scene.lengths(lists)
    said = lists[REASON] if REASON in lists.columns else pl.repeat("", lists.height, dtype=pl.String, eager=True)
    regimes = pl.Series([WARM, COLD], dtype=pl.String).gather(scene.audience.cold.astype(np.uint32))
    ids = scene.catalogue.item_id.gather(lists[ITEM_INDEX])
    table = [
        scene.audience.user_id,
        list_array(_text(ids), lengths),
        list_array(pa.array(lists[SCORE].to_numpy(), pa.float32()), lengths),
        list_array(_text(said), lengths),
        _text(regimes),
    ]
    if scene.propensity is None:
        return pa.table(table, schema=LIST_SCHEMA)
    return pa.table([*table, list_array(_propensities(lists, scene.propensity), lengths)], list_schema(explores=True))


def _propensities(lists: pl.DataFrame, propensity: float) -> pa.Array:
    """The chance of each place that exploring filled; null for the others."""
    explored = lists[ORIGIN].to_numpy() == Origin.EXPLORED
    return pa.array(np.full(lists.height, propensity, np.float32), mask=~explored)


def _text(values: pl.Series) -> pa.Array:
    return values.to_arrow().cast(pa.string())


def _origins(lists: pl.DataFrame) -> dict[str, int]:
    counts = np.bincount(lists[ORIGIN].to_numpy(), minlength=len(Origin))
    return {name: int(counts[origin]) for origin, name in ORIGINS.items()}
