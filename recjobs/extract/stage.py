"""Extract: source files become canonical events, user and item states, vocabulary and training sequences.

Three Beam passes over references: files are split by shard, shards become canonical, shards become
user states. Between them stands what is global, which is as large as the catalogue: item states and
the vocabulary.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from itertools import accumulate
from typing import Any, TypeVar

import polars as pl

from recjobs import columns as c
from recjobs import storage
from recjobs.extract import attributes, deltas
from recjobs.extract import items as item_states
from recjobs.extract.canonical import canonical_shard
from recjobs.extract.checks import faults_of_items, promises
from recjobs.extract.frames import read_scratch, write_frame, write_scratch
from recjobs.extract.job import Job
from recjobs.extract.past import past_of
from recjobs.extract.report import LEFT_OUT, bad_share, data_report, merged, require_within_limit
from recjobs.extract.snapshots import undated_note
from recjobs.extract.splitting import Tally, split_unit, units
from recjobs.extract.users import ShardOfUsers, users_shard
from recjobs.extract.vocabulary import build_vocabulary
from recjobs.manifest import Inputs, Manifest, Output, SourceFile
from recjobs.passes import Record, ready, run_pass
from recjobs.settings import Settings

logger = logging.getLogger(__name__)

Element = TypeVar("Element")


def run(inputs: Inputs, config: Settings, out: Output) -> Manifest:
    """Writes the artefact of docs/artefacts.md.

    Raises:
        ContractError: a file lacks a column, or has one of a hopeless type.
        CorruptFileError: a file can't be read.
        QuarantineLimitError: too many rows of a source are bad.
        MissingInputError: a source file is gone or was replaced since the run was planned.
    """
    first_day = min((file.day for file in inputs.sources.events if file.day is not None), default=inputs.ds)
    job = Job(inputs.ds, inputs.cutoffs, out.folder, config, inputs.sources.forgotten, first_day)
    past, notes = past_of(job, inputs)
    try:
        return _extract(replace(job, past=past), inputs, out, notes)
    finally:
        storage.delete_folder(job.scratch())


def _extract(job: Job, inputs: Inputs, out: Output, notes: list[str]) -> Manifest:
    clock = _Clock()
    job, snapshot, sections = _read_sources(job, inputs, notes)
    clock.lap("read")
    shards = _pass(job, "canonical events", range(job.shards), canonical_shard)
    clock.lap("canonical")
    items, vocabulary = _write_items(job, snapshot, inputs.sources.titles)
    clock.lap("items")
    users = _write_users(job, [shard["trained"] for shard in shards])
    clock.lap("users")
    report = data_report(sections, [shard["duplicates"] for shard in shards], _total(shards, "kept"), job.past)
    storage.write_bytes(job.uri("report.json"), json.dumps(report, indent=2).encode())
    unaccounted = report["read"] - sum(report[name] for name in (*LEFT_OUT, "kept"))
    return out.manifest(
        rows={
            "events": _total(shards, "events") + (job.counted_past.events if job.counted_past else 0),
            "users": _total(users, "users"),
            "items": items.height,
            "vocabulary": vocabulary.height,
            "sequences": _total(users, "sequences"),
            "quarantine": sum(total["quarantined"] for total in sections.values()),
            **({"forgotten": _total(list(sections.values()), "forgotten")} if job.left_out else {}),
        },
        metrics={f"quarantine_share_{name}": bad_share(total) for name, total in sections.items()},
        checks=promises([*shards, *users, faults_of_items(items), {"rows_unaccounted": unaccounted}]),
        timings={**clock.laps, "sequences": round(sum(part["sequence_seconds"] for part in users), 3)},
        notes=[
            *notes,
            *undated_note("items", job.settings.items, inputs.sources.items),
            *undated_note("users", job.settings.users, inputs.sources.users),
        ],
    )


def _read_sources(job: Job, inputs: Inputs, notes: list[str]) -> tuple[Job, item_states.Snapshot, dict[str, Record]]:
    """Splits events and users by shard, reads the items; raises when too many rows are bad.

    An event that arrived later than settings allow, since the past that the job goes on from, makes it read the whole
    window; the job it goes on as is returned.
    """
    files = [file for file in inputs.sources.events if file.day is None or file.day > job.read_after]
    work = units(files, inputs.sources.users)
    logger.info("reading %d files of events, %d of users", len(files), len(inputs.sources.users))
    tallies = _pass(job, "read sources", work, split_unit)
    snapshot, items_tally = item_states.read_snapshot(job, inputs.sources.items, quarantine_part=len(work))
    sections = merged([Tally().record("events"), *tallies, items_tally.record("items")])
    require_within_limit(sections, job.settings.extract.quarantine_limit)
    if job.past is not None and (late := sections["events"]["late"]):
        limit = job.settings.time.late_days
        notes[:] = [f"the whole window was read again: {late:,} events arrived more than {limit} days late"]
        logger.info("%s", notes[0])
        for folder in (job.scratch(), job.uri("quarantine")):
            storage.delete_folder(folder)
        return _read_sources(replace(job, past=None), inputs, notes)
    return job, snapshot, sections


def _write_items(
    job: Job, snapshot: item_states.Snapshot, older: Sequence[SourceFile]
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Writes `items.parquet`, `vocabulary.parquet`, and for the users' pass each item's index and price."""
    listed = item_states.join_items(job, snapshot, _item_counts(job))
    items = item_states.with_last_titles(job, listed, snapshot, older)
    shards = [read_scratch(file.uri) for file in storage.list_files(job.scratch("vocabulary"))]
    told = attributes.with_told_words(pl.concat(shards), job.settings.extract.token_users)
    known = [] if job.counted_past is None else [deltas.past_types(job.counted_past)]
    counts = pl.concat([told, item_states.item_value_counts(job, items), *known])
    vocabulary = build_vocabulary(counts, job.settings.extract.token_limit, job.settings.event_codes())
    write_frame(vocabulary, c.VOCABULARY_SCHEMA, job.uri("vocabulary.parquet"))
    complete = item_states.with_tokens(job, items, vocabulary)
    write_frame(complete, item_states.item_schema(job), job.uri("items.parquet"))
    prices = complete.select(c.ITEM, c.ITEM_INDEX, pl.col(c.PRICE).cast(pl.Float32))
    write_scratch(prices, job.scratch("item_index.arrow"))
    logger.info("%d items, %d vocabulary entries", complete.height, vocabulary.height)
    return complete, vocabulary


def _item_counts(job: Job) -> pl.DataFrame:
    """Every item's counts, a row each."""
    totals = item_states.total_counts(job)
    if (past := job.counted_past) is None:
        return totals
    firsts = deltas.first_events(job)
    wanted = deltas.still_wanted(job, past, totals, firsts)
    if wanted.height:
        uri = job.scratch("wanted.arrow")
        write_scratch(wanted, uri)
        look = ready(partial(deltas.later_firsts, job, uri))
        run_pass(job.settings.beam, "first events", range(job.shards), look, job.scratch("pass"))
        firsts = deltas.first_events(job)
    return deltas.still_there(item_states.added_counts(job, [totals, firsts]))


def _write_users(job: Job, trained: Sequence[int]) -> list[Record]:
    """Runs the users' pass; a shard's indexes start after those of the shards before it."""
    before = accumulate(trained[:-1], initial=0)
    work = [ShardOfUsers(number, count) for number, count in enumerate(before)]
    return _pass(job, "user states", work, users_shard)


def _pass(job: Job, name: str, work: Sequence[Element], function: Callable[[Job, Element], Record]) -> list[Record]:
    return run_pass(job.settings.beam, name, work, ready(partial(function, job)), job.scratch("pass"))


def _total(records: Sequence[Record], name: str) -> Any:
    return sum(record[name] for record in records)


class _Clock:
    """Seconds of named parts."""

    def __init__(self) -> None:
        self.laps: dict[str, float] = {}
        self._last = time.perf_counter()

    def lap(self, name: str) -> None:
        now = time.perf_counter()
        self.laps[name] = round(now - self._last, 3)
        self._last = now
