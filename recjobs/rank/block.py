"""A table of model inputs: named dense and sparse features of users, items or (user, item) pairs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

import numpy as np
import numpy.typing as npt

from recjobs.errors import ModelError

BLOCKS = ("user", "item", "pair")
"""The blocks that a pair's model input consists of, in this order."""
NORMAL_LIMIT = 8.0
"""Normalised dense values are clipped to ±this."""

FloatArray = npt.NDArray[np.float32]
IndexArray = npt.NDArray[np.int32]

DENSE_LIMIT = 1e6
"""Dense values are clipped to ±this, so that one wild number cannot become infinite in the model."""


@dataclass(frozen=True)
class Layout:
    """The features of a block in order: names of dense ones, names and table sizes of sparse ones."""

    dense: tuple[str, ...]
    sparse: tuple[tuple[str, int], ...]

    @property
    def sizes(self) -> tuple[int, ...]:
        """Rows of each sparse feature's embedding table, row 0 (unknown) included."""
        return tuple(size for _, size in self.sparse)

    def to_record(self) -> dict[str, Any]:
        """JSON-serialisable values; `Layout.from_record` reads them back."""
        return {"dense": list(self.dense), "sparse": [[name, size] for name, size in self.sparse]}

    @classmethod
    def from_record(cls, record: dict[str, Any]) -> Layout:
        """The layout that `to_record` wrote."""
        return cls(tuple(record["dense"]), tuple((name, size) for name, size in record["sparse"]))


@dataclass(frozen=True)
class Block:
    """`dense` float32[n, D], all finite, and `sparse` int32[n, S], column s in [0, layout.sizes[s])."""

    layout: Layout
    dense: FloatArray
    sparse: IndexArray

    def __len__(self) -> int:
        return len(self.dense)

    def take(self, rows: npt.NDArray[np.integer]) -> Block:
        """The block of these rows, in their order."""
        return Block(self.layout, self.dense[rows], self.sparse[rows])


def make_block(
    dense: Mapping[str, npt.NDArray[np.floating] | npt.NDArray[np.integer]],
    sparse: Mapping[str, tuple[npt.NDArray[np.integer], int]],
    rows: int,
    ignored: Sequence[str] = (),
) -> Block:
    """A block of `rows` rows. NaN (missing) becomes 0; `sparse` maps a name to (indices, table size).

    Features whose names match one of the patterns `ignored` (`*` for anything) are 0 throughout: a dense one then
    adds nothing to the model, a sparse one is unknown.
    """
    # A feature after the other in memory: each is written, and later normalised, in one go.
    wide = np.empty((len(dense), rows), np.float32)
    for row, (name, values) in zip(wide, dense.items(), strict=True):
        row[:] = 0 if _matches(name, ignored) else values
        # Most features need no mending; a NaN makes the smallest and the largest value one.
        if rows and not (row.min() >= -DENSE_LIMIT and row.max() <= DENSE_LIMIT):
            np.copyto(row, 0.0, where=np.isnan(row))
            np.clip(row, -DENSE_LIMIT, DENSE_LIMIT, out=row)
    indices = np.empty((rows, len(sparse)), np.int32)
    for column, (name, (values, _)) in enumerate(sparse.items()):
        indices[:, column] = 0 if _matches(name, ignored) else values
    layout = Layout(tuple(dense), tuple((name, size) for name, (_, size) in sparse.items()))
    return Block(layout, wide.T, indices)


def _matches(name: str, patterns: Sequence[str]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def stacked(blocks: list[Block]) -> Block:
    """The rows of `blocks`, one after the other, each row in one piece of memory; all have the same layout."""
    return Block(
        blocks[0].layout,
        np.ascontiguousarray(np.concatenate([block.dense for block in blocks])),
        np.concatenate([block.sparse for block in blocks]),
    )


def check_layout(expected: Layout, block: Block, name: str) -> None:
    """Raises ModelError when `block` is not what the model was trained on."""
    if block.layout != expected:
        given = {*block.layout.dense, *block.layout.sparse}
        known = {*expected.dense, *expected.sparse}
        raise ModelError(
            f"the ranker was trained on other {name} features: it lacks {sorted(map(str, given - known))} and "
            f"expects {sorted(map(str, known - given))}. Run rank/train again with these settings."
        )
