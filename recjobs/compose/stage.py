"""`compose`: from scored candidates to the lists an app shows.

Two passes over the shards: one counts what is popular in each segment, one makes the lists.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from functools import partial

import pyarrow as pa
import pyarrow.parquet as pq

from recjobs import storage
from recjobs.columns import part_name
from recjobs.compose import lists, popularity, summary
from recjobs.compose.catalogue import Catalogue, load_catalogue, require_something_to_show
from recjobs.compose.checks import checks_of, item_lists_check
from recjobs.compose.clusters import Clusters, cluster_items
from recjobs.compose.cold_items import load_passes
from recjobs.compose.config import ComposeConfig
from recjobs.compose.ideas import ideas_table
from recjobs.compose.item_lists import segment_lists, similar_lists
from recjobs.compose.lists import ShardFiles, Tally, Workshop, compose_shard
from recjobs.compose.order import steps_of
from recjobs.compose.popularity import Counts, Tastes, Window, load_popularity
from recjobs.compose.reasons import event_words, load_neighbours
from recjobs.compose.segments import require_columns
from recjobs.errors import CorruptFileError, SettingsError
from recjobs.manifest import Check, Inputs, Manifest, Output
from recjobs.passes import combined, ready
from recjobs.settings import Settings
from recjobs.sources.config import EventType

logger = logging.getLogger(__name__)

POPULARITY_FILE = "popularity.parquet"
STEPS_FILE = "steps.json"
IDEAS_FILE = "ideas.parquet"


def run(inputs: Inputs, config: Settings, out: Output) -> Manifest:
    """Writes `lists/`, `items/`, `segments/`, `popularity.parquet`, `ideas.parquet` and `steps.json`.

    Raises:
        GiveUpError: no item of the catalogue may be shown.
        SettingsError: a surface or a segment names what does not exist.
        CorruptFileError: artefacts of the inputs do not belong together.
        ModelError: a score is not finite.
    """
    started = time.perf_counter()
    _require_names(inputs, config)
    items_uri = inputs["extract"].uri("items.parquet")
    catalogue = load_catalogue(items_uri, config.compose, inputs.ds)
    require_something_to_show(catalogue, config.compose, items_uri)
    clusters = _clusters(inputs, config, catalogue)
    counts = _counts(inputs, config, clusters, out)
    weights = _weights(config)
    _write(popularity.rank(counts, catalogue, config.compose, weights), out.uri(POPULARITY_FILE))
    supported = popularity.supported_segments(counts, config.compose)
    _write(ideas_table(counts, supported, catalogue, clusters, weights), out.uri(IDEAS_FILE))
    counted = time.perf_counter()
    tally = _write_lists(inputs, config, out)
    listed = time.perf_counter()
    rows, item_check = _write_other_lists(inputs, catalogue, config.compose, out)
    storage.write_bytes(out.uri(STEPS_FILE), summary.steps_json(tally))
    return out.manifest(
        rows={**summary.rows(tally), **rows},
        metrics=summary.metrics(tally),
        checks=[*checks_of(summary.faults(tally, config.compose)), item_check],
        timings={"popularity": counted - started, "lists": listed - counted, "rest": time.perf_counter() - listed},
        notes=summary.notes(tally),
    )


def _require_names(inputs: Inputs, config: Settings) -> None:
    known = config.event_codes()
    for surface, rules in config.compose.surfaces.items():
        for name in rules.no_repeat:
            if name not in known:
                raise SettingsError(
                    f"compose.surfaces.{surface}.no_repeat names {name!r}, which is no event type; [events.types] has "
                    f"{sorted(known)}.",
                    name=name,
                )
    with storage.reading(inputs["extract"].uri("users", part_name(0))) as stream:
        require_columns(pq.read_schema(stream).names, config.compose.segment_by)


def _weights(config: Settings) -> dict[str, float]:
    """The weights of the event types that say that somebody wanted something."""
    return {name: kind.weight for name, kind in config.events.types.items() if kind.weight > 0}


def _clusters(inputs: Inputs, config: Settings, catalogue: Catalogue) -> Clusters:
    vectors = inputs["retrieve/search"].uri("item_vectors.parquet")
    return cluster_items(vectors, catalogue.size, config.compose.idea_clusters, config.seed)


def _counts(inputs: Inputs, config: Settings, clusters: Clusters, out: Output) -> Counts:
    window = Window(inputs.cutoffs.history_until, config.compose.segment_window_days, _weights(config))
    vectors = [other for _, other in _paired(inputs["extract"], "users", inputs["retrieve/search"], "user_vectors")]
    work = [
        (events, users, Tastes(uri, clusters.centres))
        for (events, users), uri in zip(_events_and_users(inputs["extract"]), vectors, strict=True)
    ]
    counter = partial(_count, config.compose.segment_by, window)
    return combined(config.beam, "popularity", work, ready(counter), popularity.combine, out.uri(".popularity"))


def _count(segment_by: list[str], window: Window, parts: tuple[list[str], str, Tastes]) -> Counts:
    events, users, tastes = parts
    return popularity.count_shard(events, users, segment_by, window, tastes)


@dataclass(frozen=True)
class Loading:
    """Loads what the making of lists needs, on a worker."""

    items_uri: str
    similar_uri: str
    popularity_uri: str
    ds: date
    config: ComposeConfig
    types: dict[str, EventType]
    codes: dict[str, int]

    def __call__(self) -> Callable[[ShardFiles], Tally]:
        """`compose_shard` with its workshop."""
        return partial(_compose, self.workshop())

    def workshop(self) -> Workshop:
        """What all shards need."""
        catalogue = load_catalogue(self.items_uri, self.config, self.ds)
        near = load_neighbours(self.similar_uri, catalogue.size, self.config.reason_neighbours, mutual=True)
        passes = load_passes(self.similar_uri, catalogue, self.config)
        steps = steps_of(self.config, near, event_words(self.types, self.codes), passes)
        return Workshop(catalogue, load_popularity(self.popularity_uri, catalogue), self.config, steps, self.codes)


def _compose(workshop: Workshop, files: ShardFiles) -> Tally:
    return compose_shard(files, workshop)


def loading_of(inputs: Inputs, config: Settings, popularity_uri: str) -> Loading:
    """What makes the workshop of this run; `popularity_uri` is its own `popularity.parquet`."""
    return Loading(
        inputs["extract"].uri("items.parquet"),
        inputs["retrieve/search"].uri("similar.parquet"),
        popularity_uri,
        inputs.ds,
        config.compose,
        dict(config.events.types),
        config.event_codes(),
    )


def _write_lists(inputs: Inputs, config: Settings, out: Output) -> Tally:
    loading = loading_of(inputs, config, out.uri(POPULARITY_FILE))
    pairs = _paired(inputs["extract"], "users", inputs["rank/score"], "scored")
    work = [
        ShardFiles(
            shard,
            users,
            scored,
            {surface: out.uri("lists", surface, part_name(shard)) for surface in config.compose.surfaces},
        )
        for shard, (users, scored) in enumerate(pairs)
    ]
    return combined(config.beam, "lists", work, loading, lists.combine, out.uri(".lists"))


def _write_other_lists(
    inputs: Inputs, catalogue: Catalogue, config: ComposeConfig, out: Output
) -> tuple[dict[str, int], Check]:
    popular = load_popularity(out.uri(POPULARITY_FILE), catalogue)
    similar, lengths = similar_lists(inputs["retrieve/search"].uri("similar.parquet"), catalogue)
    _write(similar, out.uri("items", part_name(0)))
    shown = len(catalogue.eligible_items)
    for surface, rules in config.surfaces.items():
        table = segment_lists(popular, catalogue, min(rules.length, shown), with_reasons=config.reasons == "full")
        _write(table, out.uri("segments", surface, part_name(0)))
    rows = {"items": similar.num_rows, "segments": len(popular.segments), "eligible items": shown}
    return rows, item_lists_check(lengths.tolist(), min(config.item_length, shown - 1))


def _events_and_users(extract: Manifest) -> list[tuple[list[str], str]]:
    """Each shard's files of events, and its users."""
    events, users = extract.shards("events"), extract.parts("users")
    if len(events) != len(users):
        raise CorruptFileError(
            f"{extract.uri('events')} has {len(events)} shards and {extract.uri('users')} {len(users)}: they are not "
            "of one run. Run extract again.",
            uri=extract.folder,
        )
    return [([file.uri for file in files], one.uri) for files, one in zip(events, users, strict=True)]


def _paired(first: Manifest, first_folder: str, second: Manifest, second_folder: str) -> list[tuple[str, str]]:
    """The parts of two outputs, shard by shard."""
    ones, others = first.parts(first_folder), second.parts(second_folder)
    if [part.name for part in ones] != [part.name for part in others] or not ones:
        raise CorruptFileError(
            f"{first.uri(first_folder)} has {len(ones)} parts and {second.uri(second_folder)} {len(others)}: they are "
            f"not of one run. Run {second.stage} again.",
            uri=second.folder,
        )
    return [(one.uri, other.uri) for one, other in zip(ones, others, strict=True)]


def _write(table: pa.Table, uri: str) -> None:
    with storage.writing(uri) as stream:
        pq.write_table(table, stream, compression="zstd")
