"""What the item tower knows of each item, as arrays by `item_index`; row 0 is the unknown item."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import polars as pl

from recjobs import columns
from recjobs.retrieve.padding import right_padded
from recjobs.retrieve.ready_made import one_width

Ints = npt.NDArray[np.int32]
Floats = npt.NDArray[np.float32]
Number = TypeVar("Number", np.int32, np.int64, np.float32)

HASHED = (columns.BRAND, columns.SELLER, columns.LANGUAGE)
CATEGORY_LEVELS = 6
"""Levels of a category path that count; deeper ones are cut."""
_SECONDS_A_DAY = 86_400


@dataclass(frozen=True)
class ItemFeatures:
    """The catalogue as the item tower sees it. I items, so I + 1 rows in every array.

    `tokens` int32[I+1, T] and `hashed` int32[I+1, F] are padded with 0; `numeric` float32[I+1, N] has mean 0
    and deviation 1 over the known values, 0 where missing, and a column of flags beside each value;
    `vectors` float32[I+1, V] holds ready-made vectors of length 1, or zeros; `counts` int64[I+1] the events
    of each item that training may learn from: those until `train_until`, whatever users' states hold.
    """

    tokens: Ints
    hashed: Ints
    numeric: Floats
    vectors: Floats
    counts: npt.NDArray[np.int64]
    texts: tuple[Ints, ...] = ()
    """The tokens of each further text column that has any, int32[I+1, T] each, padded with 0."""

    @property
    def items(self) -> int:
        """I, the number of items."""
        return len(self.counts) - 1

    @property
    def warm(self) -> int:
        """How many items have a training event. They are the items 1…warm: `extract` numbers by those."""
        return int((self.counts > 0).sum())

    @property
    def has_content(self) -> bool:
        """Whether anything but the id is known of any item."""
        return bool(self.texts) or any(part.shape[1] for part in (self.tokens, self.hashed, self.numeric, self.vectors))


def item_features(
    items: pl.DataFrame,
    as_of: date,
    *,
    buckets: int,
    categorical: Sequence[str] = (),
    numeric: Sequence[str] = (),
    vectors: Sequence[str] = (),
    text: Sequence[str] = (),
) -> ItemFeatures:
    """The features of `items` (`extract`'s item states, sorted by `item_index` from 1) at the end of `as_of`.

    Category paths count once for each prefix. Values are hashed together with their column's name
    into [1, buckets], so that an item's row is the same on every night. A column without any value is left out.

    Raises:
        ModelError: the vectors of a column have not all one width.
    """
    return ItemFeatures(
        tokens=_tokens(items, columns.TITLE),
        hashed=_hashed(items, [*HASHED, *categorical], buckets),
        numeric=_numeric(items, as_of, numeric),
        vectors=_vectors(items, vectors),
        counts=_with_unknown(items[columns.TRAIN_EVENTS].to_numpy().astype(np.int64)),
        texts=_texts(items, text),
    )


def bucket_of(column: str, value: str, buckets: int) -> int:
    """The bucket of a value in [1, buckets]: CRC-32 of `column=value`, the same everywhere."""
    return zlib.crc32(f"{column}={value}".encode()) % buckets + 1


def category_prefixes(path: str) -> list[str]:
    """`a/b/c` as `a`, `a/b`, `a/b/c`."""
    parts = [part.strip() for part in path.split("/") if part.strip()][:CATEGORY_LEVELS]
    return ["/".join(parts[: depth + 1]) for depth in range(len(parts))]


def _with_unknown(values: npt.NDArray[Number]) -> npt.NDArray[Number]:
    return np.concatenate([np.zeros((1, *values.shape[1:]), values.dtype), values])


def _tokens(items: pl.DataFrame, text: str) -> Ints:
    name = columns.tokens_column(text)
    if name not in items.columns:
        return np.zeros((items.height + 1, 0), np.int32)
    return _with_unknown(right_padded(items[name], np.int32))


def _texts(items: pl.DataFrame, declared: Sequence[str]) -> tuple[Ints, ...]:
    names = dict.fromkeys((columns.DESCRIPTION, *declared))
    found = (_tokens(items, name) for name in names if name != columns.TITLE)
    return tuple(tokens for tokens in found if tokens.shape[1])


def _hashed(items: pl.DataFrame, names: Iterable[str], buckets: int) -> Ints:
    parts = [_hashed_column(items, columns.CATEGORY, buckets, category_prefixes)]
    parts += [_hashed_column(items, name, buckets, lambda value: [value]) for name in names]
    return _with_unknown(np.concatenate(parts, axis=1))


def _hashed_column(items: pl.DataFrame, name: str, buckets: int, values_of: Callable[[str], list[str]]) -> Ints:
    if name not in items.columns or items[name].null_count() == items.height:
        return np.zeros((items.height, 0), np.int32)
    distinct = items[name].drop_nulls().unique().cast(pl.String).to_list()
    lists = [[bucket_of(name, value, buckets) for value in values_of(text)] for text in distinct]
    table = pl.DataFrame({name: distinct, "bucket": pl.Series(lists, dtype=pl.List(pl.Int32))})
    joined = items.select(pl.col(name).cast(pl.String)).join(table, on=name, how="left", maintain_order="left")
    return right_padded(joined["bucket"], np.int32)


def _numeric(items: pl.DataFrame, as_of: date, names: Sequence[str]) -> Floats:
    known = [items[columns.PRICE].cast(pl.Float64).log1p(), _log_age(items, as_of)]
    known += [items[name].cast(pl.Float64) for name in names if name in items.columns]
    parts = [_standardised(series) for series in known if series.null_count() < len(series)]
    if not parts:
        return np.zeros((items.height + 1, 0), np.float32)
    return _with_unknown(np.concatenate(parts, axis=1))


def _log_age(items: pl.DataFrame, as_of: date) -> pl.Series:
    end = datetime.combine(as_of + timedelta(days=1), datetime.min.time(), UTC)
    seconds = int(end.timestamp()) - items[columns.CREATED_AT].dt.epoch("s").cast(pl.Float64)
    return (seconds / _SECONDS_A_DAY).clip(0).log1p()


def _standardised(series: pl.Series) -> Floats:
    """float32[rows, 2]: the value with mean 0 and deviation 1 (0 where missing), and 1 where missing."""
    values = series.fill_nan(None).to_numpy().astype(np.float64)
    missing = ~np.isfinite(values)
    spread = float(np.std(values[~missing])) if not missing.all() else 0.0
    centre = float(np.mean(values[~missing])) if not missing.all() else 0.0
    scaled = np.where(missing, 0.0, (values - centre) / (spread or 1.0))
    return np.stack([scaled, missing], axis=1).astype(np.float32)


def _vectors(items: pl.DataFrame, names: Sequence[str]) -> Floats:
    parts = [_unit_vectors(items[name]) for name in names if items[name].null_count() < items.height]
    if not parts:
        return np.zeros((items.height + 1, 0), np.float32)
    return _with_unknown(np.concatenate(parts, axis=1))


def _unit_vectors(column: pl.Series) -> Floats:
    width = one_width("items", column.name, column.drop_nulls().list.len().unique().to_list())
    vectors = np.zeros((len(column), width), np.float32)
    known = column.is_not_null().to_numpy()
    vectors[known] = np.asarray(column.drop_nulls().to_list(), np.float32)
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    scaled: Floats = (vectors / np.where(lengths > 0, lengths, 1)).astype(np.float32)
    return scaled
