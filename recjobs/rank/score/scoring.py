"""Scores one shard's candidates."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import date
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from threadpoolctl import threadpool_limits

from recjobs import columns
from recjobs.manifest import Manifest
from recjobs.rank.blend import blended, utility_of
from recjobs.rank.block import FloatArray
from recjobs.rank.features import ItemTable, PairFeatures, Pairs, item_table, pairs_of, user_block
from recjobs.rank.inference import Encoded
from recjobs.rank.ranker import Ranker
from recjobs.rank.relations.features import Related, load_related, with_relations
from recjobs.rank.states import Candidates, UserShard, read_items

MODEL_BATCH = 2048
"""Pairs that go through the model at once: what they need fits the processor's cache."""


@dataclass(frozen=True)
class Scorer:
    """A ranker with tonight's items encoded; what every shard shares."""

    ranker: Ranker
    items: ItemTable
    encoded_items: Encoded
    extract: Manifest
    batch_size: int
    related: Related | None = None

    def score(self, users: UserShard, candidates: Candidates) -> Iterator[pa.Table]:
        """The candidates with final scores, `columns.scored_schema(tasks)`: every user, in order, best first.

        In pieces of about `batch_size` pairs, at least one; each core works at one, so take them all. Equal scores
        keep retrieval order. A user without candidates gets empty lists.

        Raises:
            ModelError: a score is not finite, or the features are not those of the ranker.
        """
        encoded = self.ranker.encode("user", user_block(users, self.ranker.about.spec, self._until))
        pieces = partial(self._piece, users, candidates, encoded)
        # A piece keeps its core busy; BLAS with threads of its own would only get in the others' way.
        with threadpool_limits(1, user_api="blas"), ThreadPoolExecutor(len(os.sched_getaffinity(0))) as threads:
            yield from threads.map(pieces, user_pieces(candidates.items.offsets, self.batch_size))

    @property
    def _until(self) -> date:
        return self.extract.cutoffs.history_until

    def _piece(self, users: UserShard, candidates: Candidates, encoded: Encoded, rows: slice) -> pa.Table:
        users, candidates = users.part(rows), candidates.part(rows)
        pairs, about = with_relations(pairs_of(candidates), users, self.related), self.ranker.about
        block = PairFeatures(users, self.items, about.spec, self._until).block(pairs)
        probabilities = self.ranker.probabilities(
            encoded, self.encoded_items, pairs.user + rows.start, pairs.item, block, MODEL_BATCH
        )
        lengths = candidates.items.lengths
        final = blended(pairs.standard_score, utility_of(probabilities, about.utility), lengths, about.blend_weight)
        order = best_first(final, lengths)
        return _table(users, candidates, pairs, final, probabilities, order, about.tasks)


def user_pieces(offsets: npt.NDArray[np.int64], size: int) -> list[slice]:
    """Rows of consecutive users with about `size` candidates together: all users, at least one piece.

    `offsets` int64[users + 1] are the candidates'. A user is never cut.
    """
    users = len(offsets) - 1
    # Users without candidates cost something too.
    work = offsets[1:] + np.arange(1, users + 1)
    stops = np.flatnonzero(np.diff((work - 1) // size)) + 1
    bounds = [0, *stops.tolist(), users]
    return [slice(start, stop) for start, stop in pairwise(bounds)]


def best_first(scores: FloatArray, lengths: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """The order that sorts each user's consecutive scores downwards, int64[pairs]; equal scores keep their order.

    One stable sort per row of a [users, longest list] table: several times faster than sorting all pairs at once.
    """
    longest = int(lengths.max(initial=0))
    filled = np.arange(longest) < lengths[:, np.newaxis]
    table = np.full(filled.shape, np.inf, np.float32)
    table[filled] = -scores
    # Empty places are last: infinite, and behind any equal score.
    place = np.argsort(table, axis=1, kind="stable")[filled]
    return np.repeat(np.cumsum(lengths) - lengths, lengths) + place


def make_scorer(ranker: Ranker, extract: Manifest, batch_size: int, relations: str = "") -> Scorer:
    """A scorer for the users of `extract`; the items are described and encoded here, once.

    `relations` is the folder of `learn_related`, where the ranker's spec wants relations.
    """
    frame, spec = read_items(extract), ranker.about.spec
    items = item_table(frame, spec, extract.cutoffs.history_until)
    related = load_related(frame, spec, relations)
    return Scorer(ranker, items, ranker.encode("item", items.block), extract, batch_size, related)


def _table(
    users: UserShard,
    candidates: Candidates,
    pairs: Pairs,
    final: FloatArray,
    probabilities: FloatArray,
    order: npt.NDArray[np.int64],
    tasks: tuple[str, ...],
) -> pa.Table:
    offsets = pa.array(candidates.items.offsets.astype(np.int32))
    by_name: dict[str, npt.NDArray[Any]] = {
        columns.ITEM_INDEX: candidates.items.values.astype(np.int32),
        columns.SCORE: final,
        columns.RETRIEVAL_SCORE: pairs.score,
        columns.RETRIEVAL_RANK: pairs.rank,
        **{columns.probability_column(task): probabilities[:, column] for column, task in enumerate(tasks)},
    }
    lists = [pa.ListArray.from_arrays(offsets, pa.array(values[order])) for values in by_name.values()]
    table = pa.table([users.ids, *lists], names=[columns.USER, *by_name])
    return table.cast(columns.scored_schema(tasks))
