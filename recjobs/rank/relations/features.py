"""What the items that a user had say of a candidate, by relation: the last one, the one before, all of them.

Every feature is a square root, as most pairs have little and few have much, and is also given standardised among the
user's candidates, some as ranks too; so they must be made of all of them at once. A pair whose item the user had is
described like any other: what the item itself says of it is nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
from scipy import sparse

from recjobs.manifest import Manifest
from recjobs.pipeline import BeamConfig
from recjobs.rank.block import FloatArray
from recjobs.rank.features import FeatureSpec, Pairs
from recjobs.rank.relations.content import item_words
from recjobs.rank.relations.learning import LearningTask, Relations, learn_relations, load_relations
from recjobs.rank.standardise import closeness, standardised
from recjobs.rank.states import UserShard, read_items

PLACES = {"last": 0, "second": 1, "third": 2}
"""Speakers that are one event: its place from the history's end."""
FEATURES: dict[str, tuple[str, ...]] = {
    "near": ("last", "second", "third", "recent", "all"),
    "next": ("last", "second", "third"),
    "together": ("last", "second", "third", "all"),
    "linked": ("all",),
    "alike": ("last", "second", "recent", "all"),
}
"""By relation, which events of the history speak: one of `PLACES`, `recent` (each half of the next) or `all` alike."""
RANKED = ("near_recent", "near_all", "next_last", "alike_recent")
"""Features whose rank among the user's candidates is one too, as 1 / rank."""
_SCRATCH_CELLS = 400_000
"""Scores laid out to be looked up: few enough for a processor's cache."""


@dataclass(frozen=True)
class Related:
    """What is known of how items are related; `words` are those of `content.item_words`."""

    relations: Relations
    words: Any


def learn_related(extract: Manifest, spec: FeatureSpec, beam: BeamConfig, folder: str) -> None:
    """Writes what `load_related` needs of `extract` below `folder`; nothing where `spec` wants no relations."""
    if spec.relations.enabled:
        learn_relations(LearningTask(extract, read_items(extract).height, folder, spec.relations), beam)


def load_related(items: pl.DataFrame, spec: FeatureSpec, folder: str) -> Related | None:
    """What `learn_related` wrote, and the words of `items`; None where `spec` wants no relations."""
    if not spec.relations.enabled:
        return None
    return Related(load_relations(folder, items.height), item_words(items))


def with_relations(pairs: Pairs, users: UserShard, related: Related | None) -> Pairs:
    """`pairs`, which must be all candidates of their users, user by user, with `related` filled in."""
    if related is None:
        return pairs
    lengths = np.bincount(pairs.user, minlength=len(users))
    found: dict[str, FloatArray] = {}
    for relation, speakers in FEATURES.items():
        for speaker in speakers:
            name, history = f"{relation}_{speaker}", _history(users, speaker, related.words.shape[0])
            values = _values(relation, history, related, pairs, lengths)
            found[name] = np.sqrt(np.maximum(values, 0.0))
            found[f"standard_{name}"] = standardised(found[name], lengths)
            if name in RANKED:
                found[f"closeness_{name}"] = closeness(values, lengths)
    return replace(pairs, related=found)


def _says(speaker: str, back: npt.NDArray[np.int64], length: npt.NDArray[np.int64]) -> npt.NDArray[Any]:
    """What each event of a history counts, by its place from the end and the history's length."""
    counts: npt.NDArray[Any] = 1.0 / length
    if speaker in PLACES:
        counts = back == PLACES[speaker]
    elif speaker == "recent":
        counts = 0.5**back
    return counts


def _history(users: UserShard, speaker: str, width: int) -> Any:
    """CSR float32[users, items + 1]: what each item of a user's history counts."""
    history = users.history_item
    rows, length = history.rows(), np.repeat(history.lengths, history.lengths)
    back = np.repeat(history.offsets[1:], history.lengths) - 1 - np.arange(len(rows))
    counts = _says(speaker, back, length).astype(np.float32)
    says = (counts > 0) & (history.values > 0)
    cells = (counts[says], (rows[says], history.values[says]))
    return sparse.coo_matrix(cells, shape=(len(users), width)).tocsr()


def _values(relation: str, history: Any, related: Related, pairs: Pairs, lengths: npt.NDArray[np.int64]) -> FloatArray:
    if relation == "alike":
        return dot_products((history @ related.words).tocsr(), related.words, pairs.item, lengths)
    return looked_up((history @ related.relations.tables[relation]).tocsr(), pairs.item, lengths)


def looked_up(scores: Any, item: npt.NDArray[np.int64], lengths: npt.NDArray[np.int64]) -> FloatArray:
    """The scores of the pairs, float32[pairs]: `scores` CSR[users, items + 1], `lengths` counts each user's pairs."""
    found = np.zeros(len(item), np.float32)
    ends, step = np.r_[0, np.cumsum(lengths)], max(1, _SCRATCH_CELLS // scores.shape[1])
    scratch = np.zeros((step, scores.shape[1]), np.float32)
    for start in range(0, len(lengths), step):
        stop = min(start + step, len(lengths))
        cells = _cells_of(scores, start, stop)
        scratch[cells] = scores.data[scores.indptr[start] : scores.indptr[stop]]
        mine = slice(ends[start], ends[stop])
        found[mine] = scratch[np.repeat(np.arange(stop - start), lengths[start:stop]), item[mine]]
        scratch[cells] = 0
    return found


def _cells_of(table: Any, start: int, stop: int) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    pointers = table.indptr[start : stop + 1]
    return np.repeat(np.arange(stop - start), np.diff(pointers)), table.indices[pointers[0] : pointers[-1]]


def dot_products(profiles: Any, words: Any, item: npt.NDArray[np.int64], lengths: npt.NDArray[np.int64]) -> FloatArray:
    """profile · words of the pairs' items, float32[pairs]; `profiles` CSR[users, words], `words` CSR[items, words]."""
    found = np.zeros(len(item), np.float32)
    ends, step = np.r_[0, np.cumsum(lengths)], max(1, _SCRATCH_CELLS // words.shape[1])
    place, weight = _padded(words)
    for start in range(0, len(lengths), step):
        stop = min(start + step, len(lengths))
        dense = profiles[start:stop].toarray()
        mine = slice(ends[start], ends[stop])
        row, mine_items = np.repeat(np.arange(stop - start), lengths[start:stop]), item[mine]
        found[mine] = np.einsum("pk,pk->p", dense[row[:, np.newaxis], place[mine_items]], weight[mine_items])
    return found


def _padded(words: Any) -> tuple[npt.NDArray[np.int32], FloatArray]:
    """Each item's words and their weights side by side, padded with weight 0."""
    lengths = np.diff(words.indptr)
    filled = np.arange(lengths.max(initial=0)) < lengths[:, np.newaxis]
    place, weight = np.zeros(filled.shape, np.int32), np.zeros(filled.shape, np.float32)
    place[filled], weight[filled] = words.indices, words.data
    return place, weight
