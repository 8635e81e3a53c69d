"""Third pass, by shard: user states and training sequences."""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

from recjobs import columns as c
from recjobs.extract import attributes, checks, histories
from recjobs.extract.canonical import count_columns, part, snapshot_shard
from recjobs.extract.frames import read_columns, read_scratch, write_table
from recjobs.extract.histories import Timeline
from recjobs.extract.job import Job, end_of
from recjobs.extract.sequences import Told, write_sequences
from recjobs.extract.tokens import token_lists
from recjobs.extract.vocabulary import index_of
from recjobs.passes import Record
from recjobs.sources.config import UsersSource
from recjobs.sources.contract import Kind, user_contract

SEQUENCE_FACTOR = 5
"""A training sequence is at most this many times as long as a history."""
_READ = (c.USER, c.ITEM, c.EVENT_TYPE, c.TIMESTAMP, *attributes.FROM_EVENTS)
_TYPES: dict[Kind, pa.DataType] = {"id": pa.string(), "text": pa.string(), "number": pa.float32(), "time": c.TIME_TYPE}


@dataclass(frozen=True)
class ShardOfUsers:
    """A shard, and how many users with a training event the shards before it have."""

    number: int
    trained_before: int


def users_shard(job: Job, shard: ShardOfUsers) -> Record:
    """Writes `users/part-{shard}` and `sequences/part-{shard}`."""
    events = _events(job, shard.number)
    users = _users(job, shard.number, events)
    items = _items(job.scratch("item_index.arrow"))
    line = histories.timeline(events, users[c.USER], items.index)
    table = _state_table(job, users, line, items.prices, shard.trained_before)
    write_table(table, part(job, "users", shard.number))
    started = time.perf_counter()
    trained = read_scratch(job.scratch("trained", f"{shard.number:05d}.arrow"))
    written = _write_sequences(job, shard, users, line, trained)
    return {
        "users": table.num_rows,
        "sequences": written,
        "sequence_seconds": time.perf_counter() - started,
        **checks.faults_of_users(table, shard.trained_before, job.cutoffs.history_until, len(items.prices)),
    }


def _events(job: Job, shard: int) -> pl.DataFrame:
    """The canonical events until the last cutoff, event types as codes."""
    codes = job.settings.event_codes()
    events = read_columns(part(job, "events", shard), _READ).filter(pl.col(c.TIMESTAMP) < end_of(job.last_cutoff))
    return events.with_columns(pl.col(c.EVENT_TYPE).replace_strict(codes, return_dtype=pl.Int8))


def _users(job: Job, shard: int, events: pl.DataFrame) -> pl.DataFrame:
    """Every user of the shard with what is known until `history_until`, sorted.

    A user whose only events are after `history_until` but not after `train_until` is there with an
    empty state, so that indexes stay dense.
    """
    trained = read_scratch(job.scratch("trained", f"{shard:05d}.arrow"))
    if job.cutoffs.history_until == job.cutoffs.train_until:
        return trained
    until = events.filter(pl.col(c.TIMESTAMP) < end_of(job.cutoffs.history_until))
    known = attributes.as_of(until, snapshot_shard(job, shard)).drop(attributes.TRAINED)
    seen = trained.select(c.USER, attributes.TRAINED)
    seen = seen.filter(pl.col(attributes.TRAINED) | pl.col(c.USER).is_in(known[c.USER].implode()))
    joined = known.join(seen, on=c.USER, how="full", coalesce=True)
    return joined.with_columns(pl.col(attributes.TRAINED).fill_null(value=False)).sort(c.USER)


@dataclass(frozen=True)
class _Items:
    index: pl.DataFrame
    prices: npt.NDArray[np.float64]
    """By item index; NaN where there is none."""


@lru_cache(maxsize=1)
def _items(uri: str) -> _Items:
    """Item ids, indexes and prices, read once per worker."""
    frame = read_scratch(uri)
    prices = np.full(frame.height + 1, np.nan)
    prices[frame[c.ITEM_INDEX].to_numpy()] = frame[c.PRICE].fill_null(float("nan")).to_numpy()
    return _Items(frame.select(c.ITEM, c.ITEM_INDEX), prices)


def _state_table(
    job: Job, users: pl.DataFrame, line: Timeline, prices: npt.NDArray[np.float64], trained_before: int
) -> pa.Table:
    until = job.cutoffs.history_until
    past = line.until(until)
    with_item = past.with_item()
    history = with_item.last(job.settings.extract.history_length)
    windows = job.count_windows
    columns = {
        **_known_columns(job, users, trained_before),
        **_token_columns(job, users),
        **histories.activity_columns(past, until, windows[-1]),
        c.USUAL_PRICE: histories.usual_price(history, prices),
        **histories.count_columns(past, until, job.settings.event_codes(), windows),
        **histories.history_columns(history),
        **histories.pair_columns(with_item, job.settings.extract.pair_limit),
    }
    return pa.table(columns, schema=user_schema(job))


def _known_columns(job: Job, users: pl.DataFrame, trained_before: int) -> dict[str, pa.Array]:
    trained = users[attributes.TRAINED]
    index = (trained.cum_sum() + trained_before) * trained
    contract = user_contract(job.settings.users or UsersSource(path=""))
    arrow = users.to_arrow()
    known = {column.name: arrow.column(column.name).cast(_TYPES[column.kind]) for column in contract.columns}
    return {c.USER: known.pop(c.USER), c.USER_INDEX: pa.array(index.to_numpy(), pa.int32()), **known}


def _token_columns(job: Job, users: pl.DataFrame) -> dict[str, pa.Array]:
    """The tokens of each text of users, as in item states."""
    index = _token_index(job.uri("vocabulary.parquet"))
    limit = job.settings.extract.text_tokens
    return {
        c.tokens_column(text): token_lists(users[text], index, limit).to_arrow().cast(pa.list_(pa.int32()))
        for text in attributes.text_columns(job.settings.users)
    }


@lru_cache(maxsize=1)
def _token_index(uri: str) -> pl.DataFrame:
    """The vocabulary's tokens, read once per worker."""
    return index_of(read_columns(uri, c.VOCABULARY_SCHEMA.names), c.TOKEN)


def user_schema(job: Job) -> pa.Schema:
    """The columns of `users/part-*.parquet`."""
    contract = user_contract(job.settings.users or UsersSource(path=""))
    known = [pa.field(column.name, _TYPES[column.kind]) for column in contract.columns]
    numbers = {c.N_EVENTS: pa.int32(), c.ACTIVE_DAYS: pa.int32(), c.FIRST_EVENT: c.TIME_TYPE, c.LAST_EVENT: c.TIME_TYPE}
    lists = {
        c.HISTORY_ITEM: pa.int32(),
        c.HISTORY_TYPE: pa.int8(),
        c.HISTORY_TIME: pa.int64(),
        c.PAIR_ITEM: pa.int32(),
        c.PAIR_TYPE: pa.int8(),
        c.PAIR_COUNT: pa.int32(),
        c.PAIR_LAST: pa.int64(),
    }
    return pa.schema(
        [
            known[0],
            pa.field(c.USER_INDEX, pa.int32()),
            *known[1:],
            *(
                pa.field(c.tokens_column(text), pa.list_(pa.int32()))
                for text in attributes.text_columns(job.settings.users)
            ),
            *(pa.field(name, kind) for name, kind in numbers.items()),
            pa.field(c.USUAL_PRICE, pa.float32()),
            *(pa.field(name, pa.int32()) for name in count_columns(job)),
            *(pa.field(name, pa.list_(kind)) for name, kind in lists.items()),
        ]
    )


def _write_sequences(job: Job, shard: ShardOfUsers, users: pl.DataFrame, line: Timeline, trained: pl.DataFrame) -> int:
    """Sequences of the users with a training event, in the order of their index."""
    learnt = line.until(job.cutoffs.train_until).with_item().last(SEQUENCE_FACTOR * job.settings.extract.history_length)
    chosen = trained.filter(pl.col(attributes.TRAINED))
    lengths = learnt.per_user()[users[attributes.TRAINED].to_numpy()]
    index = np.arange(chosen.height, dtype=np.int64) + shard.trained_before + 1
    write_sequences(
        part(job, "sequences", shard.number, "tfrecord"), chosen, index, _told(job, chosen), learnt, lengths
    )
    return chosen.height


def _told(job: Job, users: pl.DataFrame) -> Told:
    """What users' declared columns and texts say."""
    categorical, numeric = attributes.declared(job.settings.users)
    return Told(
        texts={name: users[name] for name in categorical},
        numbers={name: users[name] for name in numeric},
        tokens={name: pl.Series(tokens) for name, tokens in _token_columns(job, users).items()},
    )
