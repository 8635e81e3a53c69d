"""Scores one shard's candidates."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from recjobs import columns
from recjobs.manifest import Manifest
from recjobs.rank.blend import blended, utility_of
from recjobs.rank.block import FloatArray
from recjobs.rank.features import ItemTable, PairFeatures, Pairs, item_table, pairs_of, user_block
from recjobs.rank.ranker import Ranker
from recjobs.rank.relations.features import Related, load_related, with_relations
from recjobs.rank.states import Candidates, UserShard, read_items


@dataclass(frozen=True)
class Scorer:
    """A ranker with tonight's items encoded; what every shard shares."""

    ranker: Ranker
    items: ItemTable
    encoded_items: Any
    extract: Manifest
    batch_size: int
    related: Related | None = None

    def score(self, users: UserShard, candidates: Candidates) -> pa.Table:
        """The candidates with final scores, `columns.scored_schema(tasks)`: every user, best first.

        Equal scores keep retrieval order. A user without candidates gets empty lists.

        Raises:
            ModelError: a score is not finite, or the features are not those of the ranker.
        """
        pairs = with_relations(pairs_of(candidates), users, self.related)
        probabilities = self._probabilities(users, pairs)
        about = self.ranker.about
        lengths = candidates.items.lengths
        final = blended(pairs.standard_score, utility_of(probabilities, about.utility), lengths, about.blend_weight)
        order = best_first(final, lengths)
        return _table(users, candidates, pairs, final, probabilities, order, about.tasks)

    def _probabilities(self, users: UserShard, pairs: Pairs) -> FloatArray:
        spec, until = self.ranker.about.spec, self.extract.cutoffs.history_until
        encoded = self.ranker.encode("user", user_block(users, spec, until))
        block = PairFeatures(users, self.items, spec, until).block(pairs)
        return self.ranker.probabilities(encoded, self.encoded_items, pairs.user, pairs.item, block, self.batch_size)


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
