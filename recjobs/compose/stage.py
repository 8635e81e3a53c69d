"""`compose`: from scored candidates to the lists an app shows.

Two passes over the shards: one counts what is popular in each segment, one makes the lists.
What rules make of the items, and their clusters, is worked out before, once.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import partial

import pyarrow as pa
import pyarrow.parquet as pq

from recjobs import columns, storage
from recjobs.columns import part_name
from recjobs.compose import clusters, lists, popularity, summary, vectors
from recjobs.compose.catalogue import Catalogue, load_catalogue, require_something_to_show
from recjobs.compose.checks import checks_of, item_lists_check
from recjobs.compose.clusters import Clusters, cluster_items
from recjobs.compose.cold_items import load_passes
from recjobs.compose.conditions import item_kinds, read_items, require_rules
from recjobs.compose.config import ComposeConfig, SurfaceConfig
from recjobs.compose.ideas import ideas_table
from recjobs.compose.item_lists import segment_lists, similar_lists
from recjobs.compose.lists import ShardFiles, Tally, Workshop, compose_shard
from recjobs.compose.order import Plan, steps_of
from recjobs.compose.popularity import Counts, Tastes, Window, load_popularity
from recjobs.compose.reasons import event_words, load_neighbours
from recjobs.compose.rulebook import Rulebook, rulebook, wanted_columns
from recjobs.compose.segments import require_columns
from recjobs.compose.shelf import Shelf, narrowed
from recjobs.errors import CorruptFileError, SettingsError
from recjobs.manifest import Check, Inputs, Manifest, Output
from recjobs.passes import combined, ready
from recjobs.settings import Settings
from recjobs.sources.config import EventType

logger = logging.getLogger(__name__)

POPULARITY_FILE = "popularity.parquet"
STEPS_FILE = "steps.json"
CLUSTERS_FILE = "clusters.parquet"
IDEAS_FILE = "ideas.parquet"
RULES_FOLDER = "rules"


def run(inputs: Inputs, config: Settings, out: Output) -> Manifest:
    """Writes `lists/`, `items/`, `segments/`, `popularity.parquet`, `ideas.parquet` and `steps.json`.

    Where asked, `rules/` and `clusters.parquet` besides.

    Raises:
        GiveUpError: no item of the catalogue may be shown.
        SettingsError: a surface, a rule or a segment names what does not exist.
        CorruptFileError: artefacts of the inputs do not belong together.
        ModelError: a score is not finite.
    """
    started = time.perf_counter()
    unknown = require_names(inputs, config)
    loading = loading_of(inputs, config, out.folder)
    catalogue, books = loading.catalogue(), loading.books()
    _require_items(catalogue, books, config.compose, loading.items_uri)
    _write_rules(catalogue, books, config.compose, out)
    _write_clusters(loading, catalogue.size)
    _write_demand(inputs, config, catalogue, out)
    counted = time.perf_counter()
    tally = _write_lists(inputs, config, loading, out)
    listed = time.perf_counter()
    rows, item_check = _write_other_lists(inputs, catalogue, books, config.compose, out)
    storage.write_bytes(out.uri(STEPS_FILE), summary.steps_json(tally))
    return out.manifest(
        rows={**summary.rows(tally), **rows},
        metrics={**summary.metrics(tally), **summary.rule_metrics(books)},
        checks=[*checks_of(summary.faults(tally, config.compose)), item_check],
        timings={"popularity": counted - started, "lists": listed - counted, "rest": time.perf_counter() - listed},
        notes=[*summary.notes(tally), *summary.rule_notes(books), *unknown],
    )


def require_names(inputs: Inputs, config: Settings) -> list[str]:
    """Notes of values in rules that no item has, where settings let them pass.

    Raises:
        SettingsError: settings name a column, an event type or a value that is not there.
    """
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
    items_uri = inputs["extract"].uri("items.parquet")
    with storage.reading(items_uri) as stream:
        kinds = item_kinds(pq.read_schema(stream))
    require_rules(config.compose, kinds, None, known)
    return require_rules(config.compose, kinds, read_items(items_uri, wanted_columns(config.compose), inputs.ds), known)


def _require_items(catalogue: Catalogue, books: Mapping[str, Rulebook], config: ComposeConfig, items_uri: str) -> None:
    require_something_to_show(catalogue, config, items_uri)
    for surface, book in books.items():
        require_something_to_show(catalogue.only(book.allowed), config, items_uri, surface)


def _write_rules(catalogue: Catalogue, books: Mapping[str, Rulebook], config: ComposeConfig, out: Output) -> None:
    """For each surface with includes, excludes or repeat rules what they say of each item: the gate reads it."""
    for surface, book in books.items():
        rules = (config.rules, config.surfaces[surface].rules)
        if any(one.filters or one.repeat for one in rules):
            shown = catalogue.only(book.allowed).eligible[1:]
            table = {
                columns.ITEM: catalogue.item_id[1:].to_arrow().cast(pa.string()),
                columns.ELIGIBLE: pa.array(shown),
                columns.RULED: pa.array(book.ruled[1:]),
            }
            _write(pa.table(table), out.uri(RULES_FOLDER, f"{surface}.parquet"))


def _write_clusters(loading: Loading, size: int) -> None:
    if any(surface.clusters.at_most for surface in loading.config.surfaces.values()):
        found = clusters.clustered(
            vectors.load_vectors(loading.vectors_uri, size), loading.config.cluster_count, loading.seed
        )
        clusters.write_clusters(found, loading.clusters_uri)


def _weights(config: Settings) -> dict[str, float]:
    """The weights of the event types that say that somebody wanted something."""
    return {name: kind.weight for name, kind in config.events.types.items() if kind.weight > 0}


def _write_demand(inputs: Inputs, config: Settings, catalogue: Catalogue, out: Output) -> None:
    """What is popular in each segment, and what it wants beyond its share of the catalogue."""
    vectors_uri = inputs["retrieve/search"].uri("item_vectors.parquet")
    kinds = cluster_items(vectors_uri, catalogue.size, config.compose.idea_clusters, config.seed)
    counts, weights = _counts(inputs, config, kinds, out), _weights(config)
    _write(popularity.rank(counts, catalogue, config.compose, weights), out.uri(POPULARITY_FILE))
    supported = popularity.supported_segments(counts, config.compose)
    _write(ideas_table(counts, supported, catalogue, kinds, weights), out.uri(IDEAS_FILE))


def _counts(inputs: Inputs, config: Settings, kinds: Clusters, out: Output) -> Counts:
    window = Window(inputs.cutoffs.history_until, config.compose.segment_window_days, _weights(config))
    users_vectors = [uri for _, uri in _paired(inputs["extract"], "users", inputs["retrieve/search"], "user_vectors")]
    work = [
        (events, users, Tastes(uri, kinds.centres))
        for (events, users), uri in zip(_events_and_users(inputs["extract"]), users_vectors, strict=True)
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
    vectors_uri: str
    clusters_uri: str
    ds: date
    now: int
    """The end of the users' histories, in Unix seconds."""
    seed: int
    config: ComposeConfig
    types: dict[str, EventType]
    codes: dict[str, int]

    def __call__(self) -> Callable[[ShardFiles], Tally]:
        """`compose_shard` with its workshop."""
        return partial(_compose, self.workshop())

    def workshop(self) -> Workshop:
        """What all shards need."""
        catalogue = self.catalogue()
        popular = load_popularity(self.popularity_uri, catalogue)
        near = load_neighbours(self.similar_uri, catalogue.size, self.config.reason_neighbours, mutual=True)
        passes = load_passes(self.similar_uri, catalogue, self.config)
        words, surfaces = event_words(self.types, self.codes), self.config.surfaces
        passes = load_passes(self.similar_uri, catalogue, self.config)
        by_index = self._vectors(catalogue.size)
        shelves = {}
        for name, book in self.books().items():
            plan = Plan(name, surfaces[name], book, self.seed, self.ds, by_index, self._clusters(surfaces[name]))
            steps = steps_of(self.config, near, words, plan, passes)
            own = catalogue.only(book.allowed)
            shelves[name] = Shelf(surfaces[name], own, narrowed(popular, own.eligible), book, self.now, steps)
        return Workshop(self.config, popular, shelves)

    def catalogue(self) -> Catalogue:
        """The items, with what the rules of all surfaces let in."""
        return load_catalogue(self.items_uri, self.config, self.ds)

    def books(self) -> dict[str, Rulebook]:
        """By surface, what its rules say of the items."""
        items = read_items(self.items_uri, wanted_columns(self.config), self.ds)
        return {name: rulebook(self.config, name, items, self.codes) for name in self.config.surfaces}

    def _vectors(self, size: int) -> vectors.Floats | None:
        wanted = any(surface.mmr.relevance < 1 for surface in self.config.surfaces.values())
        return vectors.load_vectors(self.vectors_uri, size) if wanted else None

    def _clusters(self, surface: SurfaceConfig) -> clusters.Codes | None:
        return clusters.load_clusters(self.clusters_uri) if surface.clusters.at_most else None


def _compose(workshop: Workshop, files: ShardFiles) -> Tally:
    return compose_shard(files, workshop)


def loading_of(inputs: Inputs, config: Settings, folder: str) -> Loading:
    """What workers are to load for a run that reads `inputs` and writes to `folder`, or that has written it."""
    end = datetime.combine(inputs.cutoffs.history_until + timedelta(days=1), datetime.min.time(), UTC)
    return Loading(
        inputs["extract"].uri("items.parquet"),
        inputs["retrieve/search"].uri("similar.parquet"),
        storage.join(folder, POPULARITY_FILE),
        inputs["retrieve/search"].uri("item_vectors.parquet"),
        storage.join(folder, CLUSTERS_FILE),
        inputs.ds,
        int(end.timestamp()),
        config.seed,
        config.compose,
        dict(config.events.types),
        config.event_codes(),
    )


def _write_lists(inputs: Inputs, config: Settings, loading: Loading, out: Output) -> Tally:
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
    inputs: Inputs, catalogue: Catalogue, books: Mapping[str, Rulebook], config: ComposeConfig, out: Output
) -> tuple[dict[str, int], Check]:
    popular = load_popularity(out.uri(POPULARITY_FILE), catalogue)
    similar, lengths = similar_lists(inputs["retrieve/search"].uri("similar.parquet"), catalogue)
    _write(similar, out.uri("items", part_name(0)))
    shown = len(catalogue.eligible_items)
    for surface, rules in config.surfaces.items():
        own = catalogue.only(books[surface].allowed)
        length = min(rules.length, len(own.eligible_items))
        table = segment_lists(narrowed(popular, own.eligible), own, length, with_reasons=config.reasons == "full")
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
