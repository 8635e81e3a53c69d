"""A small `extract` artefact with known tastes: users and items fall into groups, users like their own group.

Same columns and files as the real stage (docs/artefacts.md), made directly, so that later stages
are tested without it. User `u{n}` and item `i{n}` belong to group `n % groups`; most of a user's
events are on items of the own group, and the user's last group item is never repeated by chance alone.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from recjobs import columns, manifest
from recjobs.settings import Settings, load_settings
from recjobs.shards import shard_of

WORDS = ("linen", "oak", "steel", "wool", "glass", "paper", "silk", "clay")
COUNTRIES = ("GB", "FR", "DE")
CONFIG = """
dataset = "planted"
root = "{root}"

[time]
label_days = {label_days}

[events]
path = "{root}/events"

[events.types.view]
task = "click"
weight = 1.0

[events.types.purchase]
task = "purchase"
weight = 4.0

[items]
path = "{root}/items"

[users]
path = "{root}/users"

[beam]
shards = {shards}

[compose]
segment_support = 5

[compose.surfaces.home]
length = 10
no_repeat = ["purchase"]
"""


@dataclass(frozen=True)
class Planted:
    """The size and seed of a planted dataset."""

    ds: date = date(2026, 3, 31)
    days: int = 20
    users: int = 120
    items: int = 40
    groups: int = 4
    shards: int = 2
    events_per_user: int = 16
    loyalty: float = 0.9
    """Share of a user's events on items of the own group."""
    label_days: int = 1
    seed: int = 0


def planted_settings(folder: Path, planted: Planted | None = None, **overrides: Any) -> Settings:
    """Settings for a planted dataset whose root is `folder`; `overrides` as dotted keys with `__` for dots."""
    planted = planted or Planted()
    path = folder / "planted.toml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(CONFIG.format(root=folder, label_days=planted.label_days, shards=planted.shards))
    return load_settings(str(path), {key.replace("__", "."): value for key, value in overrides.items()})


def planted_events(planted: Planted) -> pl.DataFrame:
    """Events of `planted.days` days up to and with `ds`: user, item number, type, time; sorted by time."""
    random = np.random.default_rng(planted.seed)
    size = planted.users * planted.events_per_user
    user = np.repeat(np.arange(planted.users), planted.events_per_user)
    per_group = planted.items // planted.groups
    own = user % planted.groups + planted.groups * random.integers(0, per_group, size)
    anywhere = random.integers(0, planted.items, size)
    item = np.where(random.random(size) < planted.loyalty, own, anywhere)
    start = datetime.combine(planted.ds - timedelta(days=planted.days - 1), datetime.min.time(), UTC)
    seconds = random.integers(0, planted.days * 86_400, size)
    return (
        pl.DataFrame(
            {
                columns.USER: [f"u{number:04d}" for number in user],
                columns.ITEM: [f"i{number:04d}" for number in item],
                columns.EVENT_TYPE: np.where(random.random(size) < 0.25, "purchase", "view"),
                columns.TIMESTAMP: pl.Series(int(start.timestamp()) + seconds) * 1_000_000,
            }
        )
        .with_columns(pl.col(columns.TIMESTAMP).cast(pl.Datetime("us", "UTC")))
        .sort(columns.TIMESTAMP, columns.USER)
    )


def planted_extract(
    folder: Path, planted: Planted | None = None, *, events: pl.DataFrame | None = None, sequences: bool = True
) -> manifest.Manifest:
    """Writes the artefact below `folder`/extract and returns its manifest.

    `events` replaces the planted ones (same columns); `sequences=False` leaves the TFRecords out and
    needs no TensorFlow.
    """
    planted = planted or Planted()
    settings = planted_settings(folder, planted)
    events = planted_events(planted) if events is None else events
    cutoffs = manifest.cutoffs_of(planted.ds, train_lag_days=0, history_lag_days=0, label_days=planted.label_days)
    out = manifest.Output("extract", planted.ds, "planted", cutoffs, str(folder / "extract" / str(planted.ds)))
    known = events.filter(pl.col(columns.TIMESTAMP).dt.date() <= planted.ds)
    items = _items(planted, known, settings)
    _write_vocabulary(out, planted, items)
    users = _users(planted, known, items, settings)
    shards = shard_of(pa.array(users[columns.USER].to_list()), planted.shards)
    event_shards = shard_of(pa.array(known[columns.USER].to_list()), planted.shards)
    for shard in range(planted.shards):
        _write_shard(
            out, shard, users.filter(pl.Series(shards == shard)), known.filter(pl.Series(event_shards == shard))
        )
        if sequences:
            _write_sequences(out, shard, users.filter(pl.Series(shards == shard)))
    _write(items.to_arrow(), out.uri("items.parquet"))
    Path(out.uri("report.json")).write_text(json.dumps({"kept": known.height}))
    rows = {"events": known.height, "users": users.height, "items": items.height}
    done = out.manifest(rows=rows)
    manifest.store(done, out.run_folder)
    return done


def _items(planted: Planted, events: pl.DataFrame, settings: Settings) -> pl.DataFrame:
    numbers = range(planted.items)
    base = pl.DataFrame(
        {
            columns.ITEM: [f"i{number:04d}" for number in numbers],
            columns.TITLE: [f"{WORDS[number % planted.groups % 8]} thing {number}" for number in numbers],
            columns.DESCRIPTION: pl.Series([None] * planted.items, dtype=pl.String),
            columns.CATEGORY: [f"group/{number % planted.groups}" for number in numbers],
            columns.BRAND: [f"brand{number % 5}" for number in numbers],
            columns.SELLER: pl.Series([None] * planted.items, dtype=pl.String),
            columns.LANGUAGE: pl.Series([None] * planted.items, dtype=pl.String),
            columns.PRICE: pl.Series([5.0 + number % 7 for number in numbers], dtype=pl.Float32),
            columns.CREATED_AT: pl.Series(
                [datetime(2026, 1, 1, tzinfo=UTC)] * planted.items, dtype=pl.Datetime("us", "UTC")
            ),
            columns.AVAILABLE: [True] * planted.items,
        }
    )
    counts = events.group_by(columns.ITEM).agg(
        pl.len().cast(pl.Int64).alias(columns.TRAIN_EVENTS),
        pl.len().cast(pl.Int64).alias(columns.N_EVENTS),
        pl.col(columns.USER).n_unique().cast(pl.Int64).alias(columns.N_USERS),
        pl.col(columns.TIMESTAMP).min().alias(columns.FIRST_EVENT),
        pl.col(columns.TIMESTAMP).max().alias(columns.LAST_EVENT),
        *_counts(settings, planted.ds, pl.Int64),
    )
    joined = base.join(counts, on=columns.ITEM, how="left").with_columns(
        pl.col(columns.TRAIN_EVENTS, columns.N_EVENTS, columns.N_USERS).fill_null(0), pl.col("^count_.*$").fill_null(0)
    )
    ranked = joined.sort([columns.TRAIN_EVENTS, columns.ITEM], descending=[True, False])
    tokens = {f"{WORDS[group % 8]}": group + 1 for group in range(planted.groups)}
    return ranked.with_columns(
        pl.int_range(1, pl.len() + 1, dtype=pl.Int32).alias(columns.ITEM_INDEX),
        pl.col(columns.TITLE)
        .map_elements(lambda title: [tokens[title.split()[0]]], return_dtype=pl.List(pl.Int32))
        .alias(columns.TITLE_TOKENS),
    )


def _counts(settings: Settings, ds: date, dtype: Any) -> list[pl.Expr]:
    return [
        ((pl.col(columns.EVENT_TYPE) == kind) & (pl.col(columns.TIMESTAMP).dt.date() > ds - timedelta(days=days)))
        .sum()
        .cast(dtype)
        .alias(columns.count_column(kind, days))
        for kind in settings.events.types
        for days in settings.extract.count_windows
    ]


def _users(planted: Planted, events: pl.DataFrame, items: pl.DataFrame, settings: Settings) -> pl.DataFrame:
    codes = settings.event_codes()
    coded = (
        events.join(items.select(columns.ITEM, columns.ITEM_INDEX, columns.PRICE), on=columns.ITEM)
        .with_columns(
            pl.col(columns.EVENT_TYPE).replace_strict(codes, return_dtype=pl.Int8).alias("code"),
            (pl.col(columns.TIMESTAMP).dt.epoch("s")).alias("seconds"),
        )
        .sort(columns.USER, "seconds", "code", columns.ITEM)
    )
    length = settings.extract.history_length
    states = coded.group_by(columns.USER, maintain_order=True).agg(
        pl.len().cast(pl.Int32).alias(columns.N_EVENTS),
        pl.col(columns.TIMESTAMP).dt.date().n_unique().cast(pl.Int32).alias(columns.ACTIVE_DAYS),
        pl.col(columns.TIMESTAMP).min().alias(columns.FIRST_EVENT),
        pl.col(columns.TIMESTAMP).max().alias(columns.LAST_EVENT),
        pl.col(columns.PRICE).log1p().mean().cast(pl.Float32).alias(columns.USUAL_PRICE),
        pl.col(columns.ITEM_INDEX).tail(length).alias(columns.HISTORY_ITEM),
        pl.col("code").tail(length).alias(columns.HISTORY_TYPE),
        pl.col("seconds").tail(length).alias(columns.HISTORY_TIME),
        *_counts(settings, planted.ds, pl.Int32),
    )
    pairs = (
        coded.group_by(columns.USER, columns.ITEM_INDEX, "code")
        .agg(pl.len().cast(pl.Int32).alias("n"), pl.col("seconds").max().alias("last"))
        .sort([columns.USER, "last", columns.ITEM_INDEX, "code"], descending=[False, True, False, False])
        .group_by(columns.USER, maintain_order=True)
        .agg(
            pl.col(columns.ITEM_INDEX).alias(columns.PAIR_ITEM),
            pl.col("code").alias(columns.PAIR_TYPE),
            pl.col("n").alias(columns.PAIR_COUNT),
            pl.col("last").alias(columns.PAIR_LAST),
        )
    )
    names = [f"u{number:04d}" for number in range(planted.users)]
    everyone = pl.DataFrame(
        {
            columns.USER: names,
            columns.COUNTRY: [COUNTRIES[number % len(COUNTRIES)] for number in range(planted.users)],
            **{
                column: pl.Series([None] * planted.users, dtype=pl.String)
                for column in (columns.REGION, columns.LANGUAGE, columns.AGE_BAND, columns.INTERESTS)
            },
            columns.SIGNUP_AT: pl.Series([None] * planted.users, dtype=pl.Datetime("us", "UTC")),
        }
    )
    joined = everyone.join(states, on=columns.USER, how="left").join(pairs, on=columns.USER, how="left")
    filled = joined.with_columns(
        pl.col(columns.N_EVENTS, columns.ACTIVE_DAYS).fill_null(0),
        pl.col("^count_.*$").fill_null(0),
        *(
            pl.col(column).fill_null([])
            for column in (
                columns.HISTORY_ITEM,
                columns.HISTORY_TYPE,
                columns.HISTORY_TIME,
                columns.PAIR_ITEM,
                columns.PAIR_TYPE,
                columns.PAIR_COUNT,
                columns.PAIR_LAST,
            )
        ),
    )
    shards = shard_of(pa.array(names), planted.shards)
    warm = pl.col(columns.N_EVENTS) > 0
    return (
        filled.with_columns(pl.Series("shard", shards))
        .sort("shard", columns.USER)
        .with_columns(pl.when(warm).then(warm.cum_sum()).otherwise(0).cast(pl.Int32).alias(columns.USER_INDEX))
        .drop("shard")
    )


def _write_vocabulary(out: manifest.Output, planted: Planted, items: pl.DataFrame) -> None:
    rows: list[tuple[str, str, int, int]] = []
    for group in range(planted.groups):
        rows.append((columns.TOKEN, WORDS[group % 8], group + 1, 1))
    for column, values in (
        (columns.CATEGORY, items[columns.CATEGORY]),
        (columns.BRAND, items[columns.BRAND]),
        (columns.COUNTRY, pl.Series(COUNTRIES)),
    ):
        for index, value in enumerate(sorted(values.unique().to_list()), start=1):
            rows.append((column, value, index, 1))
    for index, kind in enumerate(("view", "purchase"), start=1):
        rows.append((columns.EVENT_TYPE, kind, index, 1))
    table = pa.Table.from_pylist(
        [dict(zip(columns.VOCABULARY_SCHEMA.names, row, strict=True)) for row in rows], columns.VOCABULARY_SCHEMA
    )
    _write(table, out.uri("vocabulary.parquet"))


def _write_shard(out: manifest.Output, shard: int, users: pl.DataFrame, events: pl.DataFrame) -> None:
    _write(users.to_arrow(), out.uri("users", columns.part_name(shard)))
    sequences = users.select(columns.USER, columns.HISTORY_ITEM, columns.HISTORY_TYPE, columns.HISTORY_TIME)
    _write(sequences.to_arrow(), out.uri("recent", columns.part_name(shard)))
    ordered = events.sort(columns.USER, columns.TIMESTAMP, columns.EVENT_TYPE, columns.ITEM)
    complete = ordered.with_columns(
        *(
            pl.lit(None).cast(pl.Float64 if name in (columns.VALUE, columns.QUANTITY) else pl.String).alias(name)
            for name in columns.EVENT_SCHEMA.names
            if name not in (*events.columns, columns.ARRIVAL_DATE)
        ),
        pl.col(columns.TIMESTAMP).dt.date().alias(columns.ARRIVAL_DATE),
    ).select(columns.EVENT_SCHEMA.names)
    _write(complete.to_arrow().cast(columns.EVENT_SCHEMA), out.uri("events", columns.part_name(shard)))


def _write_sequences(out: manifest.Output, shard: int, users: pl.DataFrame) -> None:
    import tensorflow as tf

    path = Path(out.uri("sequences", columns.part_name(shard, "tfrecord")))
    path.parent.mkdir(parents=True, exist_ok=True)

    def text(value: str | None) -> Any:
        return tf.train.Feature(bytes_list=tf.train.BytesList(value=[(value or "").encode()]))

    def numbers(values: Any) -> Any:
        return tf.train.Feature(int64_list=tf.train.Int64List(value=list(values)))

    with tf.io.TFRecordWriter(str(path)) as writer:
        for row in users.filter(pl.col(columns.N_EVENTS) > 0).iter_rows(named=True):
            feature = {
                columns.USER: text(row[columns.USER]),
                columns.USER_INDEX: numbers([row[columns.USER_INDEX]]),
                "item": numbers(row[columns.HISTORY_ITEM]),
                "type": numbers(row[columns.HISTORY_TYPE]),
                "time": numbers(row[columns.HISTORY_TIME]),
                **{
                    name: text(row[name])
                    for name in (columns.COUNTRY, columns.REGION, columns.LANGUAGE, columns.AGE_BAND)
                },
            }
            writer.write(tf.train.Example(features=tf.train.Features(feature=feature)).SerializeToString())


def _write(table: pa.Table, uri: str) -> None:
    Path(uri).parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, uri)
