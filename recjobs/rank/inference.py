"""The trained DLRM's forward pass in NumPy, for scoring: the same numbers as `dlrm.Dlrm`, several times faster.

A night scores every candidate of every user, a hundred pairs to a user. Three things make that cheap:

- What depends on the user or the item alone is worked out once: its share of the first dense layer, of the wide part,
  and of the first layer above the interaction (the dot products of a user's own embeddings are the same for all pairs).
- A user's pairs stand together, so their dot products with the user's embeddings are one matrix product a user.
- Batches fit the processor's cache, and features that never varied in training (always 0 then) are left out.

There is no TensorFlow in it: its single operators are slower here than BLAS, and a worker starts at once. One thread
does one call; several threads may call at the same time.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from recjobs.rank.block import NORMAL_LIMIT, Block, FloatArray
from recjobs.rank.weights import BlockWeights, Layer, Weights

_INFINITY = np.float32(np.inf)
_ZERO = np.float32(0)


@dataclass(frozen=True)
class Encoded:
    """Rows of a block worked out as far as they go alone.

    `embedded` float32[n, S * K]; `rest` float32[n, H + O + T]: shares of the first dense layer, of the first layer
    above the interaction and of the wide logits, side by side.
    """

    embedded: FloatArray
    rest: FloatArray

    def __len__(self) -> int:
        return len(self.rest)


@dataclass(frozen=True)
class _BlockPlan:
    """A block's weights without the features that never vary; `project` gives hidden and wide side by side."""

    kept: npt.NDArray[np.int64]
    mean: FloatArray
    scale: FloatArray
    project: FloatArray
    tables: FloatArray
    offsets: npt.NDArray[np.int32]
    wide_tables: FloatArray


class Inference:
    """Probabilities of pairs from `weights`."""

    def __init__(self, weights: Weights) -> None:
        first, *later = _calibrated(weights.over, weights.slope, weights.intercept)
        self._hidden, self._size = len(weights.bias), weights.blocks["pair"].tables.shape[1]
        self._tasks, self._width = len(weights.slope), first.kernel.shape[1]
        self._counts = {name: len(block.offsets) for name, block in weights.blocks.items()}
        self._plans = {name: _block_plan(block, weights.slope) for name, block in weights.blocks.items()}
        self._bias, self._first_bias = weights.bias, first.bias
        self._dense, self._later = weights.dense, tuple(later)
        self._rows = _Rows(first.kernel, self._size, *self._counts.values())

    def encode(self, name: str, block: Block) -> Encoded:
        """The rows of the block `name` ("user" or "item")."""
        linear, embedded, wide = self._linear(name, block.dense, block.sparse)
        count, width = self._counts[name], self._hidden + self._width
        rest = np.empty((len(block), width + self._tasks), np.float32)
        rest[:, : self._hidden] = linear[:, : self._hidden]
        vectors = embedded.reshape(-1, count, self._size)
        dots = np.matmul(vectors, vectors.transpose(0, 2, 1))
        rows, columns = np.tril_indices(count, -1)
        rest[:, self._hidden : width] = dots[:, rows, columns] @ self._rows.within(name)
        rest[:, width:] = wide
        if name == "user":
            rest[:, : self._hidden] += self._bias
            rest[:, self._hidden : width] += self._first_bias
        return Encoded(embedded, rest)

    def probabilities(
        self,
        users: Encoded,
        items: Encoded,
        user: npt.NDArray[np.integer],
        item: npt.NDArray[np.integer],
        pairs: Block,
        batch_size: int,
    ) -> FloatArray:
        """float32[pairs, T]; `user` and `item` are the pairs' rows of `users` and `items`.

        Fastest where a user's pairs stand together, as many for each user.
        """
        result = np.empty((len(pairs), self._tasks), np.float32)
        for group in _groups(user, batch_size):
            rows, shape = group.rows, (len(group.users), group.width)
            dense, sparse = pairs.dense[rows], pairs.sparse[rows]
            logits = self._logits(users, items, group.users, item[rows], dense, sparse, shape)
            np.negative(logits, out=logits)
            # A logit below -88 has a probability of 0, though the exponential is infinite on the way.
            with np.errstate(over="ignore"):
                np.exp(logits, out=logits)
            logits += 1.0
            np.reciprocal(logits, out=logits)
            result[rows] = logits
        return result

    def _linear(self, name: str, dense: FloatArray, sparse: npt.NDArray[np.int32]) -> tuple[FloatArray, ...]:
        """The block's hidden and wide share [n, H + T], its embeddings [n, S * K] and its wide logits [n, T]."""
        plan = self._plans[name]
        # By feature: each has its own mean and scale, and lies in one piece (`block.make_block`).
        normal = dense.T[plan.kept]
        normal -= plan.mean
        normal *= plan.scale
        np.clip(normal, -NORMAL_LIMIT, NORMAL_LIMIT, out=normal)
        linear = normal.T @ plan.project
        places = sparse + plan.offsets
        embedded = plan.tables.take(places.ravel(), axis=0).reshape(len(dense), self._size * places.shape[1])
        wide = linear[:, self._hidden :]
        for column in range(places.shape[1]):
            wide += plan.wide_tables.take(places[:, column], axis=0)
        return linear, embedded, wide

    def _logits(
        self,
        users: Encoded,
        items: Encoded,
        user: npt.NDArray[np.int64],
        item: npt.NDArray[np.integer],
        dense: FloatArray,
        sparse: npt.NDArray[np.int32],
        shape: tuple[int, int],
    ) -> FloatArray:
        """Calibrated logits [U * L, T] of `shape` U users with L pairs each."""
        linear, pair_vectors, wide = self._linear("pair", dense, sparse)
        own = users.rest[user][:, np.newaxis]
        theirs = items.rest.take(item, axis=0)
        hidden, last = self._hidden, self._hidden + self._width
        start = linear[:, :hidden] + theirs[:, :hidden]
        _by_user(start, shape)[:] += own[:, :, :hidden]
        vector = _upwards(_rectified(start), self._dense, last_rectified=True)
        user_vectors = users.embedded[user].reshape(len(user), self._counts["user"], self._size)
        item_vectors = items.embedded.take(item, axis=0)
        product = self._rows.product(vector, user_vectors, item_vectors, pair_vectors, shape)
        product += theirs[:, hidden:last]
        _by_user(product, shape)[:] += own[:, :, hidden:last]
        logits = _upwards(_rectified(product), self._later, last_rectified=False) if self._later else product
        wide += theirs[:, last:]
        _by_user(wide, shape)[:] += own[:, :, last:]
        logits += wide
        return logits


class _Rows:
    """The first layer above the interaction, its rows in the order in which dot products are worked out here.

    Vectors are numbered as in `InteractionArch`: 0 the dense arch's, then the user's, the item's and the pair's
    embeddings. Its kernel's rows are the dense vector's K values, then a row per pair of vectors.
    """

    def __init__(self, kernel: FloatArray, size: int, users: int, items: int, pairs: int) -> None:
        self._kernel, self._size = kernel, size
        self._users, self._items, self._pairs = users, items, pairs
        self._first = {"user": 1, "item": 1 + users, "pair": 1 + users + items}
        self._count = {"user": users, "item": items, "pair": pairs}
        self._ordered = self._order()

    def _row(self, one: int, other: int) -> int:
        """The kernel's row of the dot product of these vectors."""
        high, low = max(one, other), min(one, other)
        return self._size + high * (high - 1) // 2 + low

    def within(self, name: str) -> FloatArray:
        """The rows of a block's vectors among themselves, as `np.tril_indices` has them."""
        first = self._first[name]
        pairs = ((row, column) for row in range(self._count[name]) for column in range(row))
        return self._kernel[[self._row(first + row, first + column) for row, column in pairs]]

    def _order(self) -> FloatArray:
        users, items, pairs = (range(self._first[name], self._first[name] + self._count[name]) for name in self._first)
        with_user = [self._row(vector, user) for vector in (0, *items, *pairs) for user in users]
        with_item = [self._row(vector, item) for vector in (0, *pairs) for item in items]
        among = [self._row(one, other) for place, one in enumerate((0, *pairs)) for other in pairs[place:]]
        return np.ascontiguousarray(self._kernel[[*range(self._size), *with_user, *with_item, *among]])

    def product(
        self, vector: FloatArray, user: FloatArray, item: FloatArray, pair: FloatArray, shape: tuple[int, int]
    ) -> FloatArray:
        """The layer's output [U * L, O] without bias and without `within` of users and items.

        vector [U * L, K], user [U, users, K], item [U * L, items * K], pair [U * L, pairs * K].
        """
        inputs = np.empty((len(vector), len(self._ordered)), np.float32)
        inputs[:, : self._size] = vector
        place = self._size
        across = user.transpose(0, 2, 1)
        for vectors, count in ((vector, 1), (item, self._items), (pair, self._pairs)):
            width = count * self._users
            by_user = vectors.reshape(shape[0], shape[1] * count, self._size)
            inputs[:, place : place + width] = np.matmul(by_user, across).reshape(len(vector), width)
            place += width
        items = item.reshape(len(vector), self._items, self._size)
        pairs = pair.reshape(len(vector), self._pairs, self._size)
        own = [vector, *(pairs[:, number] for number in range(self._pairs))]
        for one in own:
            np.einsum("bk,bfk->bf", one, items, out=inputs[:, place : place + self._items])
            place += self._items
        for number, one in enumerate(own):
            width = self._pairs - number
            np.einsum("bk,bfk->bf", one, pairs[:, number:], out=inputs[:, place : place + width])
            place += width
        return inputs @ self._ordered


@dataclass(frozen=True)
class _Group:
    """A batch: `users` int64[U], each with `width` pairs; `rows` are the pairs', a slice or int64[U * width].

    Where users have unequally many, the last of a user's pairs is repeated.
    """

    users: npt.NDArray[np.int64]
    width: int
    rows: Any


def _groups(user: npt.NDArray[np.integer], batch_size: int) -> Iterator[_Group]:
    """Batches of about `batch_size` pairs that cover all, a user's consecutive pairs together."""
    starts, lengths = _runs(user, batch_size)
    stops = np.flatnonzero(np.diff((starts + lengths - 1) // batch_size, append=-1)) + 1
    for first, stop in zip(np.r_[0, stops][:-1], stops, strict=True):
        some, start = lengths[first:stop], starts[first]
        width = int(some.max())
        users = user[starts[first:stop]].astype(np.int64)
        if (some == width).all():
            yield _Group(users, width, slice(start, start + width * len(some)))
        else:
            place = np.minimum(np.arange(width), some[:, np.newaxis] - 1)
            yield _Group(users, width, (starts[first:stop, np.newaxis] + place).ravel())


def _runs(user: npt.NDArray[np.integer], longest: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Start and length of each run of one user's consecutive pairs; a run longer than `longest` is cut."""
    if not len(user):
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    starts = np.flatnonzero(np.diff(user, prepend=user[0] - 1))
    lengths = np.diff(starts, append=len(user))
    pieces = -(-lengths // longest)
    number = np.arange(pieces.sum()) - np.repeat(np.cumsum(pieces) - pieces, pieces)
    cut = np.repeat(starts, pieces) + number * longest
    return cut, np.diff(cut, append=len(user))


def _block_plan(block: BlockWeights, slope: FloatArray) -> _BlockPlan:
    kept = np.flatnonzero(block.scale != 0)
    return _BlockPlan(
        kept=kept,
        mean=block.mean[kept, np.newaxis],
        scale=block.scale[kept, np.newaxis],
        project=np.concatenate([block.project[kept], block.wide_dense[kept] * slope], axis=1),
        tables=block.tables,
        offsets=block.offsets,
        wide_tables=block.wide_tables * slope,
    )


def _calibrated(layers: tuple[Layer, ...], slope: FloatArray, intercept: FloatArray) -> list[Layer]:
    """The layers with calibration in the last."""
    *below, heads = layers
    return [*below, Layer(heads.kernel * slope, heads.bias * slope + intercept)]


def _by_user(values: FloatArray, shape: tuple[int, int]) -> FloatArray:
    """A view [U, L, n] of values [U * L, n]."""
    return values.reshape(*shape, values.shape[1])


def _rectified(values: FloatArray) -> FloatArray:
    """Negative values set to 0, in place. `clip` is several times faster than `maximum` with a number."""
    return np.clip(values, _ZERO, _INFINITY, out=values)


def _upwards(values: FloatArray, layers: tuple[Layer, ...], *, last_rectified: bool) -> FloatArray:
    for number, layer in enumerate(layers):
        values = values @ layer.kernel
        values += layer.bias
        if last_rectified or number < len(layers) - 1:
            values = _rectified(values)
    return values
