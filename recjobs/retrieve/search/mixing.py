"""One list per user from what several sources propose.

The towers' own candidates and each source's, up to its quota, are united; where they agree or a source has too little,
the list is filled from further down the towers' list. So every user has exactly K candidates, none twice, as the
towers alone propose K different ones. Each candidate keeps all its sources and every source's score. The order is by
the sum of the sources' weights times their scores, standardised among the user's candidates; ties by item index.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from recjobs.columns import source_bit
from recjobs.retrieve.search.index import Database, Found, Indexes, Vectors
from recjobs.retrieve.search.sources.scores import Floats, Positions, Scores

Bits = npt.NDArray[np.int16]
TOWERS, FILL = "towers", "fill"
_NOWHERE = np.int64(2**31 - 1)
_PAIRS_A_CALL = 200_000


@dataclass(frozen=True)
class Mixed:
    """Candidates of B users, best first: `item_index` int32[B, K], fused `score` float32[B, K], `source` int16[B, K]
    (bit i: proposed by source i), and `by_source` float32[B, K] of each source that is on, the towers among them."""

    item_index: Indexes
    score: Floats
    source: Bits
    by_source: Mapping[str, Floats]


@dataclass(frozen=True)
class Mixer:
    """How many candidates the towers bring of their own, the other sources' quotas, and every source's weight."""

    own: int
    quotas: Mapping[str, int]
    weights: Mapping[str, float]


def towers_alone(found: Found) -> Mixed:
    """The towers' candidates as they are: their score is the dot product."""
    source = np.full(found.item_index.shape, source_bit(TOWERS), np.int16)
    return Mixed(found.item_index, found.score, source, {TOWERS: found.score})


def mix(found: Found, queries: Vectors, database: Database, proposals: Mapping[str, Scores], mixer: Mixer) -> Mixed:
    """The candidates of the users whose K best by the towers are `found` and whose vectors are `queries`."""
    towers = np.searchsorted(database.item_index, found.item_index).astype(np.int32)
    tops = {name: scores.top(mixer.quotas[name]) for name, scores in proposals.items()}
    position, source, place = united(towers, mixer.own, tops)
    by_source = {TOWERS: _dot_products(position, place, found.score, queries, database.vectors)}
    by_source |= {name: scores.of(position) for name, scores in proposals.items()}
    score = fused(by_source, mixer.weights)
    order = best_first(score, position)
    return Mixed(
        database.item_index[np.take_along_axis(position, order, axis=1)],
        np.take_along_axis(score, order, axis=1),
        np.take_along_axis(source, order, axis=1),
        {name: np.take_along_axis(values, order, axis=1) for name, values in by_source.items()},
    )


def joined(blocks: Sequence[Mixed]) -> Mixed:
    """The users of several blocks (at least one), one after the other."""
    return Mixed(
        np.concatenate([block.item_index for block in blocks]),
        np.concatenate([block.score for block in blocks]),
        np.concatenate([block.source for block in blocks]),
        {name: np.concatenate([block.by_source[name] for block in blocks]) for name in blocks[0].by_source},
    )


def united(towers: Positions, own: int, tops: Mapping[str, Positions]) -> tuple[Positions, Bits, Positions]:
    """Of B users: positions int32[B, K], which sources proposed them int16[B, K], and their place in `towers`, from 1
    (0: not there), int32[B, K].

    `towers` int32[B, K] holds no position twice; its first `own` columns are the towers' proposals, the others fill.
    `tops` hold -1 where a source has nothing.
    """
    columns = np.concatenate([towers[:, :own], *tops.values(), towers[:, own:]], axis=1)
    bits, places = _about_columns(towers.shape[1], own, {name: top.shape[1] for name, top in tops.items()})
    item, column, first = _sorted_with_columns(columns)
    start = np.flatnonzero(first)
    shape = columns.shape
    cell = start // shape[1] * shape[1] + column[start]
    known = item[start] < _NOWHERE
    kept = np.zeros(shape, bool)
    kept.ravel()[cell[known]] = True
    kept &= np.cumsum(kept, axis=1) <= towers.shape[1]
    source, place = np.zeros(shape, np.int16), np.zeros(shape, np.int32)
    source.ravel()[cell] = np.bitwise_or.reduceat(bits[column], start)
    place.ravel()[cell] = np.maximum.reduceat(places[column], start)
    source = source[kept].reshape(towers.shape)
    fill = source_bit(FILL)
    return (
        columns[kept].reshape(towers.shape),
        np.where(source == fill, fill, source & ~fill),
        place[kept].reshape(towers.shape),
    )


def fused(by_source: Mapping[str, Floats], weights: Mapping[str, float]) -> Floats:
    """Σ weight × score standardised per user, float32[B, K]; a source that says the same of all says nothing."""
    total = np.zeros(next(iter(by_source.values())).shape, np.float32)
    for name, scores in by_source.items():
        if weights[name]:
            total += np.float32(weights[name]) * _standardised(scores)
    # Negative zeros would sort below zeros.
    return total + np.float32(0)


def best_first(score: Floats, position: Positions) -> npt.NDArray[np.int64]:
    """The order of each row by score, best first, ties by position: int64[B, K]."""
    bits = np.ascontiguousarray(score, np.float32).view(np.int32)
    rising = np.where(bits >= 0, bits, bits ^ np.int32(0x7FFFFFFF)).astype(np.int64)
    return np.argsort((-rising << 32) | position.astype(np.int64), axis=1)


def _about_columns(total: int, own: int, widths: Mapping[str, int]) -> tuple[Bits, Positions]:
    """The source's bit, and the place in the towers' list, of each column that `united` puts side by side."""
    bits = [np.full(own, source_bit(TOWERS)), *(np.full(width, source_bit(name)) for name, width in widths.items())]
    between = np.zeros(sum(widths.values()), np.int32)
    rank = np.arange(1, total + 1, dtype=np.int32)
    return (
        np.concatenate([*bits, np.full(total - own, source_bit(FILL))]).astype(np.int16),
        np.concatenate([rank[:own], between, rank[own:]]),
    )


def _sorted_with_columns(
    columns: Positions,
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
    """Row by row, flat: positions in order, the column of each, and whether it is the first of its kind in the row."""
    shift = int(columns.shape[1]).bit_length()
    wide = np.where(columns < 0, _NOWHERE, columns.astype(np.int64))
    keys = np.sort((wide << shift) | np.arange(columns.shape[1]), axis=1)
    item = keys >> shift
    first = np.ones(item.shape, bool)
    first[:, 1:] = item[:, 1:] != item[:, :-1]
    return item.ravel(), (keys & ((1 << shift) - 1)).ravel(), first.ravel()


def _dot_products(position: Positions, place: Positions, score: Floats, queries: Vectors, vectors: Vectors) -> Floats:
    """The towers' scores, float32[B, K]: as found where they were found, else computed."""
    products = np.take_along_axis(score, np.maximum(place - 1, 0).astype(np.int64), axis=1)
    row, column = np.nonzero(place == 0)
    for start in range(0, len(row), _PAIRS_A_CALL):
        part = slice(start, start + _PAIRS_A_CALL)
        left, right = queries[row[part]], vectors[position[row[part], column[part]]]
        products[row[part], column[part]] = np.einsum("nd,nd->n", left, right)
    return products


def _standardised(scores: Floats) -> Floats:
    """(score - mean) / standard deviation in each row; 0 where all are equal."""
    centred = scores - scores.mean(axis=1, keepdims=True)
    deviation = np.sqrt(np.mean(np.square(centred), axis=1, keepdims=True))
    level = deviation <= 1e-6 * np.abs(scores).max(axis=1, keepdims=True, initial=0)
    standard: Floats = np.where(level, 0, centred / np.where(level, 1, deviation)).astype(np.float32)
    return standard
