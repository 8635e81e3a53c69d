"""What the user states say together, which the user tower is built from."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow.parquet as pq

from recjobs import columns, storage
from recjobs.errors import SettingsError
from recjobs.manifest import Manifest
from recjobs.retrieve.ready_made import one_width
from recjobs.retrieve.user_features import NO_COLUMNS, SIDE_FIELDS, UserColumns
from recjobs.sources.config import UsersSource
from recjobs.sources.contract import USER_COLUMNS

Floats = npt.NDArray[np.float32]


def _no_numbers() -> Floats:
    return np.zeros(0, np.float32)


@dataclass(frozen=True)
class KnownUsers:
    """The largest user index, the columns that say something, and for each numeric one its mean and deviation.

    All over users with a training event. `centre` and `deviation` are float32[N]; a deviation of 0 is given as 1.
    """

    largest: int = 0
    columns: UserColumns = NO_COLUMNS
    centre: Floats = field(default_factory=_no_numbers)
    deviation: Floats = field(default_factory=_no_numbers)


@dataclass(frozen=True)
class _Shard:
    """One shard's share of it. `moments` float64[N, 3]: count, mean and sum of squares about it.

    `widths` has the widths that are found in each column of vectors, of all users.
    """

    largest: int
    has: frozenset[str]
    longest: int
    moments: npt.NDArray[np.float64]
    widths: dict[str, frozenset[int]]


def known_users(extract: Manifest, source: UsersSource | None, ignored: Sequence[str] = ()) -> KnownUsers:
    """What `extract`'s user states say of the columns that `source` declares, a shard at a time.

    A column without any value is left out: it could not be learnt from. So are the `ignored` ones.

    Raises:
        SettingsError: an ignored one is no column of users.
        ModelError: the vectors of a column have not all one width.
    """
    declared = _without(declared_columns(source), ignored)
    shards = [_shard(part.uri, declared) for part in extract.parts("users")]
    has = frozenset[str]().union(*(shard.has for shard in shards))
    numeric = [place for place, name in enumerate(declared.numeric) if name in has]
    vectors = _among(declared.vectors, has)
    centre, deviation = _together(np.stack([shard.moments for shard in shards])[:, numeric])
    return KnownUsers(
        largest=max(shard.largest for shard in shards),
        columns=UserColumns(
            categorical=_among(declared.categorical, has),
            numeric=_among(declared.numeric, has),
            text=_among(declared.text, has),
            tokens=max(shard.longest for shard in shards),
            vectors=vectors,
            widths=tuple(
                one_width("users", name, chain.from_iterable(shard.widths[name] for shard in shards))
                for name in vectors
            ),
        ),
        centre=centre,
        deviation=deviation,
    )


def declared_columns(source: UsersSource | None) -> UserColumns:
    """The columns that settings declare besides those that every user has; interests are always looked for."""
    if source is None:
        return UserColumns(text=(columns.INTERESTS,))
    return UserColumns(
        categorical=_further(source.categorical),
        numeric=_further(source.numeric),
        text=tuple(dict.fromkeys((columns.INTERESTS, *source.text))),
        vectors=_further(source.vectors),
    )


def _without(declared: UserColumns, ignored: Sequence[str]) -> UserColumns:
    further = (*declared.categorical, *declared.numeric, *declared.text, *declared.vectors)
    for name in ignored:
        if name not in (*SIDE_FIELDS, *further):
            known = ", ".join((*SIDE_FIELDS, *further))
            raise SettingsError(f"retrieve.train.ignored_user_columns: users have no column {name!r}. Known: {known}.")
    kept = frozenset(further) - frozenset(ignored)
    return replace(
        declared,
        categorical=_among(declared.categorical, kept),
        numeric=_among(declared.numeric, kept),
        text=_among(declared.text, kept),
        vectors=_among(declared.vectors, kept),
    )


def _further(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(name for name in dict.fromkeys(names) if name not in USER_COLUMNS)


def _among(names: Sequence[str], has: frozenset[str]) -> tuple[str, ...]:
    return tuple(name for name in names if name in has)


def _shard(uri: str, declared: UserColumns) -> _Shard:
    with storage.reading(uri) as stream:
        there = set(pq.read_schema(stream).names)
    wanted = [columns.USER_INDEX, *(name for name in declared.state_columns() if name in there)]
    with storage.reading(uri) as stream:
        states = pl.read_parquet(stream, columns=wanted)
    trained = states.filter(pl.col(columns.USER_INDEX) > 0)
    lengths = {
        name: int(trained[columns.tokens_column(name)].list.len().max() or 0)  # type: ignore[arg-type]
        for name in declared.text
        if columns.tokens_column(name) in there
    }
    moments = np.array([_moments(trained, name) for name in declared.numeric]).reshape(-1, 3)
    has = {name for name in declared.categorical if name in there and trained[name].drop_nulls().len()}
    has |= {name for name, length in lengths.items() if length}
    has |= {name for name in declared.vectors if name in there and trained[name].drop_nulls().len()}
    has |= {name for name, row in zip(declared.numeric, moments, strict=True) if row[0]}
    return _Shard(
        largest=int(states[columns.USER_INDEX].max() or 0),  # type: ignore[arg-type]
        has=frozenset(has),
        longest=max(lengths.values(), default=0),
        moments=moments,
        widths={name: _widths(states, name) for name in declared.vectors},
    )


def _widths(users: pl.DataFrame, name: str) -> frozenset[int]:
    return frozenset(users[name].drop_nulls().list.len().to_list()) if name in users.columns else frozenset()


def _moments(users: pl.DataFrame, name: str) -> tuple[float, float, float]:
    if name not in users.columns:
        return 0.0, 0.0, 0.0
    values = users[name].cast(pl.Float64).drop_nulls().to_numpy()
    values = values[np.isfinite(values)]
    mean = float(values.mean()) if len(values) else 0.0
    return float(len(values)), mean, float(((values - mean) ** 2).sum())


def _together(moments: npt.NDArray[np.float64]) -> tuple[Floats, Floats]:
    """Mean and deviation float32[N] of all shards' moments float64[shards, N, 3] (Chan et al. 1979)."""
    count, mean, squares = moments[:, :, 0], moments[:, :, 1], moments[:, :, 2]
    total = np.maximum(count.sum(axis=0), 1.0)
    centre = (count * mean).sum(axis=0) / total
    variance = (squares + count * (mean - centre) ** 2).sum(axis=0) / total
    deviation = np.where(variance > 0, np.sqrt(variance), 1.0)
    return centre.astype(np.float32), deviation.astype(np.float32)
