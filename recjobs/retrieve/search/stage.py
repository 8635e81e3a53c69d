"""`retrieve/search`: vectors of all items and users, and every user's best items."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Mapping

import numpy as np
import polars as pl
import pyarrow as pa

from recjobs import columns, storage
from recjobs.manifest import Inputs, Manifest, Output
from recjobs.ragged import matrix
from recjobs.retrieve.search.audit import Audit, choose, sample_rows
from recjobs.retrieve.search.checks import search_checks
from recjobs.retrieve.search.config import RetrieveSearchConfig
from recjobs.retrieve.search.index import (
    MIN_TREE_ITEMS,
    Database,
    Searcher,
    Vectors,
    build_index,
    check_saved_index,
    efforts,
    exact_searcher,
    leaf_count,
)
from recjobs.retrieve.search.shards import ALONE, SHARE, EmbedTask, SearchTask, embed_users, search_users
from recjobs.retrieve.search.similar import similar_table
from recjobs.retrieve.search.sources.learning import LearningTask, learn
from recjobs.retrieve.search.sources.loading import SourcesTask
from recjobs.retrieve.search.sources.users import check_segment_columns
from recjobs.retrieve.search.towers import Tower, item_vectors, tower_facts
from recjobs.retrieve.search.vectors import list_column, read_database, read_table, write_table
from recjobs.retrieve.user_features import list_time
from recjobs.settings import Settings

log = logging.getLogger(__name__)

ITEM_VECTORS = "item_vectors.parquet"
USER_VECTORS = "user_vectors"
CANDIDATES = "candidates"
INDEX = "index"
SOURCES = "sources"


def run(inputs: Inputs, config: Settings, out: Output) -> Manifest:
    """Writes vectors, candidates for every user, similar items, and the audit of the search.

    The same inputs give the same candidates, except that two builds of a ScaNN index may differ
    slightly; below `exact_below` items the search is exact.

    Raises:
        ModelError: no item is available, a vector is not finite, or the saved index answers otherwise than the built.
        SettingsError: the users have no column that segments are made by.
    """
    clock = _Clock()
    settings = config.retrieve.search
    extract = inputs["extract"]
    parts = [part.name for part in extract.parts("users")]
    check_segment_columns(extract.uri("users", parts[0]), settings.sources)
    items = _write_item_vectors(inputs, out)
    clock.lap("item_vectors")
    embedded = embed_users(_embed_task(inputs, out), parts, config.beam)
    log.info("%d users have vectors, %.1f s", embedded["users"], clock.lap("user_vectors"))
    database = read_database(out.uri(ITEM_VECTORS), extract.uri("items.parquet"))
    audit = _choose_search(database, _sample(out, parts, settings, config.seed), settings, out, clock)
    clock.lap("audit")
    learn(_learning_task(inputs, config, out), parts, config.beam)
    clock.lap("sources")
    counts = search_users(_search_task(inputs, config, audit, out), parts, config.beam)
    log.info("%d users have %d candidates each, %.1f s", counts["users"], audit.k, clock.lap("search"))
    similar = _similar(items, database, settings)
    write_table(similar, out.uri("similar.parquet"))
    clock.lap("similar")
    return out.manifest(
        rows={"users": counts["users"], "items": items.num_rows, "searched_items": len(database.item_index)},
        metrics=_metrics(audit, counts, len(database.item_index), clock.laps),
        checks=search_checks(audit, counts, _rows_of(extract, parts)),
        timings=clock.laps,
        notes=_notes(audit),
    )


class _Clock:
    """Seconds of named parts."""

    def __init__(self) -> None:
        self.laps: dict[str, float] = {}
        self._last = time.perf_counter()

    def lap(self, name: str) -> float:
        now = time.perf_counter()
        self.laps[name] = now - self._last
        self._last = now
        return self.laps[name]


def _write_item_vectors(inputs: Inputs, out: Output) -> pa.Table:
    """Writes and returns `item_index`, `item_id`, `vector` of every item."""
    train = inputs["retrieve/train"]
    items = read_table(inputs["extract"].uri("items.parquet"), [columns.ITEM_INDEX, columns.ITEM])
    with storage.local_folder(train.uri("item_tower")) as folder:
        vectors = item_vectors(Tower(folder), items.num_rows)
    index = items[columns.ITEM_INDEX].cast(pa.int32())
    names = items[columns.ITEM].cast(pa.string())
    table = pa.table({columns.ITEM_INDEX: index, columns.ITEM: names, columns.VECTOR: list_column(vectors)})
    write_table(table, out.uri(ITEM_VECTORS))
    return table


def _embed_task(inputs: Inputs, out: Output) -> EmbedTask:
    train = inputs["retrieve/train"]
    return EmbedTask(
        tower=train.uri("user_tower"),
        users=inputs["extract"].uri("users"),
        vectors=out.uri(USER_VECTORS),
        facts=tower_facts(train.uri("towers.json")),
        now=list_time(inputs.cutoffs.history_until),
    )


def _learning_task(inputs: Inputs, config: Settings, out: Output) -> LearningTask:
    extract = inputs["extract"]
    return LearningTask(
        events={shard[0].name.rpartition("/")[2]: [file.uri for file in shard] for shard in extract.shards("events")},
        users=extract.uri("users"),
        items=extract.uri("items.parquet"),
        folder=out.uri(SOURCES),
        end=list_time(inputs.cutoffs.train_until),
        weights={name: kind.weight for name, kind in config.events.types.items() if kind.has_item and kind.weight > 0},
        settings=config.retrieve.search.sources,
    )


def _sources_task(inputs: Inputs, config: Settings, out: Output) -> SourcesTask | None:
    settings = config.retrieve.search.sources
    if not settings.quotas:
        return None
    kinds = config.events.types.values()
    return SourcesTask(
        folder=out.uri(SOURCES),
        users=inputs["extract"].uri("users"),
        weights=(0.0, *(max(0.0, kind.weight) for kind in kinds)),
        now=list_time(inputs.cutoffs.history_until),
        settings=settings,
    )


def _search_task(inputs: Inputs, config: Settings, audit: Audit, out: Output) -> SearchTask:
    extract, settings = inputs["extract"], config.retrieve.search
    return SearchTask(
        user_vectors=out.uri(USER_VECTORS),
        item_vectors=out.uri(ITEM_VECTORS),
        items=extract.uri("items.parquet"),
        index=out.uri(INDEX),
        candidates=out.uri(CANDIDATES),
        k=settings.total,
        effort=audit.effort,
        own=settings.candidates,
        sources=_sources_task(inputs, config, out),
    )


def _sample(out: Output, parts: list[str], settings: RetrieveSearchConfig, seed: int) -> Vectors:
    """Vectors of about `audit_users` users, drawn evenly from all shards."""
    wanted = -(-settings.audit_users // len(parts))
    sampled = []
    for shard, part in enumerate(parts):
        vectors = matrix(read_table(out.uri(USER_VECTORS, part), [columns.VECTOR])[columns.VECTOR])
        if len(vectors):
            sampled.append(vectors[sample_rows(len(vectors), wanted, (seed, shard))])
    return np.concatenate(sampled) if sampled else np.zeros((0, 1), np.float32)


def _choose_search(
    database: Database, sample: Vectors, settings: RetrieveSearchConfig, out: Output, clock: _Clock
) -> Audit:
    """Builds and saves the index where the catalogue is large, and writes what the audit says of it."""
    k = min(settings.total, len(database.item_index))
    candidates = _approximate(database, k, sample, settings, out, clock)
    _, audit = choose(candidates, exact_searcher(database, k), sample, settings.recall_floor)
    storage.write_bytes(out.uri("audit.json"), json.dumps(audit.to_json(), indent=1).encode())
    log.info(
        "%s search over %d items, recall %.4f",
        "ScaNN" if audit.effort else "exact",
        len(database.item_index),
        audit.recall,
    )
    return audit


def _approximate(
    database: Database, k: int, sample: Vectors, settings: RetrieveSearchConfig, out: Output, clock: _Clock
) -> list[Searcher]:
    size = len(database.item_index)
    if size < max(settings.exact_below, MIN_TREE_ITEMS):
        return []
    clock.lap("sample")
    index = build_index(database, k)
    with storage.writing_folder(out.uri(INDEX)) as folder:
        index.serialize(str(folder), relative_path=True)
    clock.lap("index_build")
    searchers = [Searcher(database, index, k, effort) for effort in efforts(size, k)]
    with storage.local_folder(out.uri(INDEX)) as folder:
        check_saved_index(folder, searchers[0], sample)
    return searchers


def _metrics(audit: Audit, counts: dict[str, int], items: int, laps: Mapping[str, float]) -> dict[str, float]:
    """Of the search: recall, effort (0 where exact), users/s; of sources: their share, and what they alone bring.

    `users_per_second` is of the whole stage, `search_users_per_second` of search and mixing alone.
    """
    effort = audit.effort
    candidates = max(counts["candidates"], 1)
    shares = {
        f"{kind}_{source}": counts[f"{kind}/{source}"] / candidates
        for source in columns.SOURCES
        for kind in (SHARE, ALONE)
    }
    return {
        "recall": audit.recall,
        "candidates": audit.k,
        "refilled": counts["refilled"],
        "users_per_second": counts["users"] / max(sum(laps.values()), 1e-9),
        "search_users_per_second": counts["users"] / max(laps["search"], 1e-9),
        "scann": float(effort is not None),
        "index_leaves": leaf_count(items) if effort else 0,
        "searched_leaves": effort.leaves if effort else 0,
        "reordered": effort.reorder if effort else 0,
        **shares,
    }


def _similar(items: pa.Table, database: Database, settings: RetrieveSearchConfig) -> pa.Table:
    return similar_table(
        items,
        matrix(items[columns.VECTOR]),
        database,
        settings.similar_items,
        exact_below=settings.exact_below,
        recall_floor=settings.recall_floor,
    )


def _rows_of(extract: Manifest, parts: list[str]) -> int:
    total = 0
    for part in parts:
        with storage.reading(extract.uri("users", part)) as stream:
            total += pl.read_parquet(stream, columns=[columns.USER]).height
    return total


def _notes(audit: Audit) -> list[str]:
    if not audit.fell_back:
        return []
    best = max(trial.recall for trial in audit.trials[:-1])
    return [
        f"ScaNN's recall at {audit.k} was at best {best:.4f}, below the floor {audit.floor}: searched exactly instead"
    ]
