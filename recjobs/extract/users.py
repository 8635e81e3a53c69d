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
from recjobs.extract import attributes, checks, copied, histories
from recjobs.extract.canonical import LATEST, latest_until, part, snapshot_shard
from recjobs.extract.frames import read_columns, read_scratch, write_table
from recjobs.extract.histories import Timeline
from recjobs.extract.job import Job, Past
from recjobs.extract.sequences import Told, write_sequences
from recjobs.extract.tallies import count_columns
from recjobs.extract.tokens import token_lists
from recjobs.extract.vocabulary import index_of
from recjobs.passes import Record
from recjobs.ragged import flat_lists, rows_of
from recjobs.sources.config import UsersSource
from recjobs.sources.contract import Kind, user_contract

SEQUENCE_FACTOR = 5
"""A training sequence is at most this many times as long as a history."""
_TYPES: dict[Kind, pa.DataType] = {
    "id": pa.string(),
    "text": pa.string(),
    "number": pa.float32(),
    "time": c.TIME_TYPE,
    "vector": pa.list_(pa.float32()),
}


@dataclass(frozen=True)
class ShardOfUsers:
    """A shard, and how many users with a training event the shards before it have."""

    number: int
    trained_before: int


def users_shard(job: Job, shard: ShardOfUsers) -> Record:
    """Writes `users/part-{shard}`, `recent/part-{shard}` and `sequences/part-{shard}`."""
    known = read_scratch(job.scratch("trained", f"{shard.number:05d}.arrow"))
    users = _users(job, shard.number, known)
    items = _items(job.scratch("item_index.arrow"))
    events = _events(job, shard.number)
    table = _state_table(job, users, _states(job, shard.number, users[c.USER], events, items), shard.trained_before)
    write_table(table, part(job, "users", shard.number))
    trained = known.filter(pl.col(attributes.TRAINED))
    recent = _recent(job, shard.number, trained[c.USER], events, items)
    write_table(recent, part(job, copied.RECENT, shard.number))
    started = time.perf_counter()
    _write_sequences(job, shard, trained, recent)
    return {
        "users": table.num_rows,
        "sequences": trained.height,
        "sequence_seconds": time.perf_counter() - started,
        **checks.faults_of_users(table, shard.trained_before, job.cutoffs.history_until, len(items.prices)),
    }


def _events(job: Job, shard: int) -> pl.DataFrame:
    """The canonical events until the last cutoff of the users whose states are made anew, event types as codes."""
    events = read_scratch(job.scratch("timeline", f"{shard:05d}.arrow"))
    return events.with_columns(pl.col(c.EVENT_TYPE).to_physical().cast(pl.Int8) + 1)


def _users(job: Job, shard: int, trained: pl.DataFrame) -> pl.DataFrame:
    """Every user of the shard with what is known until `history_until`, sorted.

    A user whose only events are after `history_until` but not after `train_until` is there with an
    empty state, so that indexes stay dense.
    """
    if "history" not in latest_until(job):
        return trained
    latest = read_columns(job.uri(LATEST, "history", c.part_name(shard)), attributes.LATEST_SCHEMA.names)
    known = attributes.joined(latest, snapshot_shard(job, shard)).drop(attributes.TRAINED)
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


def _states(job: Job, shard: int, users: pl.Series, events: pl.DataFrame, items: _Items) -> pa.Table:
    """A row of state per user: made from their events, or copied where these are as they were."""
    if job.past is None:
        return pa.table(_new_states(job, histories.timeline(events, users, items.index), items.prices))
    same, table = copied.rows_in(job.past, "users", shard, _unchanged(job, shard, users))
    old = copied.copied_states(job, job.past, shard, same, table, _renumbered(job), items.prices)
    fresh = _others(users, same)
    new = _new_states(job, histories.timeline(events, fresh, items.index), items.prices)
    return _merged(fresh, new, same, old)


def _new_states(job: Job, line: Timeline, prices: npt.NDArray[np.float64]) -> dict[str, pa.Array]:
    until = job.cutoffs.history_until
    past = line.until(until)
    with_item = past.with_item()
    history = with_item.last(job.settings.extract.history_length)
    windows = job.count_windows
    return {
        **histories.activity_columns(past, until, windows[-1]),
        c.USUAL_PRICE: histories.usual_price(history, prices),
        c.USUAL_DEVICE: histories.usual_device(history),
        **histories.count_columns(past, until, job.settings.event_codes(), windows),
        **histories.history_columns(history),
        **histories.pair_columns(with_item, job.settings.extract.pair_limit),
    }


def _recent(job: Job, shard: int, trained: pl.Series, events: pl.DataFrame, items: _Items) -> pa.Table:
    """What the training sequences of the users `trained` are written from, a row each."""
    if job.past is None:
        lists = _new_recent(job, histories.timeline(events, trained, items.index))
        return pa.table({c.USER: trained.to_arrow().cast(pa.string()), **lists})
    same, table = copied.rows_in(job.past, copied.RECENT, shard, _unchanged(job, shard, trained))
    fresh = _others(trained, same)
    new = _new_recent(job, histories.timeline(events, fresh, items.index))
    lists = _merged(fresh, new, same, copied.copied_recent(table, _renumbered(job)))
    return lists.add_column(0, c.USER, trained.to_arrow().cast(pa.string()))


def _new_recent(job: Job, line: Timeline) -> dict[str, pa.Array]:
    length = SEQUENCE_FACTOR * job.settings.extract.history_length
    learnt = line.until(job.cutoffs.train_until).with_item().last(length)
    return histories.history_columns(learnt) | histories.device_column(learnt)


def _unchanged(job: Job, shard: int, users: pl.Series) -> pl.Series:
    """Those of `users` whose events are as they were."""
    return _others(users, read_scratch(job.scratch("changed", f"{shard:05d}.arrow"))[c.USER])


def _others(users: pl.Series, left_out: pl.Series) -> pl.Series:
    """`users` without `left_out`, in order."""
    return users.to_frame(c.USER).join(left_out.to_frame(c.USER), on=c.USER, how="anti", maintain_order="left")[c.USER]


def _renumbered(job: Job) -> copied.Renumbered:
    assert job.past is not None
    return _renumbering(job.past, job.scratch("item_index.arrow"))


@lru_cache(maxsize=1)
def _renumbering(past: Past, uri: str) -> copied.Renumbered:
    return copied.renumbered(past, _items(uri).index)


def _merged(fresh: pl.Series, new: dict[str, pa.Array], same: pl.Series, old: dict[str, pa.Array]) -> pa.Table:
    """Rows of both by user: `new` are those of `fresh`, `old` those of `same`."""
    both = pa.concat_tables([pa.table(new), pa.table({name: old[name] for name in new})])
    order = pl.concat([fresh.cast(pl.String), same.cast(pl.String)]).arg_sort()
    return both.take(pa.array(order.to_numpy()))


def _state_table(job: Job, users: pl.DataFrame, states: pa.Table, trained_before: int) -> pa.Table:
    known = _known_columns(job, users, trained_before)
    columns = {**known, **_token_columns(job, users), **{name: states.column(name) for name in states.column_names}}
    schema = user_schema(job)
    return pa.table({name: columns[name] for name in schema.names}, schema=schema)


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
            pa.field(c.USUAL_DEVICE, pa.int64()),
            *(pa.field(name, pa.int32()) for name in count_columns(job)),
            *(pa.field(name, pa.list_(kind)) for name, kind in lists.items()),
        ]
    )


def _write_sequences(job: Job, shard: ShardOfUsers, trained: pl.DataFrame, recent: pa.Table) -> None:
    """Sequences of the users with a training event, in the order of their index."""
    item, lengths = flat_lists(recent.column(c.HISTORY_ITEM))
    code, _ = flat_lists(recent.column(c.HISTORY_TYPE))
    seconds, _ = flat_lists(recent.column(c.HISTORY_TIME))
    device, _ = flat_lists(recent.column(c.HISTORY_DEVICE))
    learnt = Timeline(trained.height, rows_of(lengths).astype(np.int64), item, code, seconds, device)
    index = np.arange(trained.height, dtype=np.int64) + shard.trained_before + 1
    write_sequences(
        part(job, "sequences", shard.number, "tfrecord"), trained, index, _told(job, trained), learnt, lengths
    )


def _told(job: Job, users: pl.DataFrame) -> Told:
    """What users' declared columns and texts say."""
    categorical, numeric = attributes.declared(job.settings.users)
    return Told(
        texts={name: users[name] for name in categorical},
        numbers={name: users[name] for name in numeric},
        tokens={name: pl.Series(tokens) for name, tokens in _token_columns(job, users).items()},
        vectors={name: users[name] for name in attributes.vector_columns(job.settings.users)},
    )
