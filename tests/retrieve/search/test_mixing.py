from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recjobs import columns
from recjobs.retrieve.search.index import Database, Found, exact_top
from recjobs.retrieve.search.mixing import Mixer, best_first, fused, mix, towers_alone, united
from recjobs.retrieve.search.sources.scores import NOTHING, SparseScores, TableScores, csr, top_of

BIT = columns.source_bit


def sparse_scores(dense: Any) -> SparseScores:
    rows, at = np.nonzero(dense)
    return SparseScores(csr(dense[rows, at], rows, at, dense.shape))


@settings(max_examples=60, deadline=None)
@given(
    items=st.integers(4, 40),
    own=st.integers(1, 6),
    quotas=st.tuples(st.integers(1, 5), st.integers(1, 5)),
    seed=st.integers(0, 999),
)
def test_every_user_has_k_different_candidates_with_all_their_sources_and_scores(
    items: int, own: int, quotas: tuple[int, int], seed: int
) -> None:
    """Against one user at a time in plain Python: the union by quota, filled from the towers' list."""
    random = np.random.default_rng(seed)
    database = Database(np.arange(2, 2 * items + 2, 2, dtype=np.int32), random.normal(size=(items, 3)).astype("f4"))
    queries = random.normal(size=(5, 3)).astype(np.float32)
    total = min(own + sum(quotas), items)
    position, score = exact_top(queries, database.vectors, total)
    dense = np.round(random.random((5, items)) * 4) * (random.random((5, items)) < 0.3)
    shared = np.round(random.random((2, items)) * 4).astype(np.float32)
    row = random.integers(0, 2, 5)
    proposals: dict[str, Any] = {
        "cooccurrence": sparse_scores(dense.astype(np.float32)),
        "segment": TableScores(row, shared, top_of(shared, quotas[1])),
    }
    named = {"cooccurrence": quotas[0], "segment": quotas[1]}
    mixer = Mixer(min(own, total), named, {"towers": 1.0, "cooccurrence": 0.5, "segment": 0.25})
    mixed = mix(Found(database.item_index[position], score, 0), queries, database, proposals, mixer)
    assert mixed.item_index.shape == (5, total)
    for user in range(5):
        wanted = planned(position[user], own, [dense[user], shared[row[user]]], quotas, total)
        got = dict(zip(mixed.item_index[user].tolist(), mixed.source[user].tolist(), strict=True))
        assert len(got) == total
        assert got == {2 * at + 2: bits for at, bits in wanted.items()}
        at = mixed.item_index[user] // 2 - 1
        assert mixed.by_source["towers"][user] == pytest.approx(database.vectors[at] @ queries[user], abs=1e-5)
        assert mixed.by_source["cooccurrence"][user].tolist() == dense[user, at].tolist()
        assert mixed.by_source["segment"][user].tolist() == shared[row[user], at].tolist()
        pairs = list(zip((-mixed.score[user]).tolist(), at.tolist(), strict=True))
        assert pairs == sorted(pairs)


def planned(towers: Any, own: int, dense: list[Any], quotas: tuple[int, int], total: int) -> dict[int, int]:
    """Position: bits."""
    bits: dict[int, int] = {}
    for at in towers[:own].tolist():
        bits[at] = BIT("towers")
    for name, scores, quota in zip(("cooccurrence", "segment"), dense, quotas, strict=True):
        best = sorted(np.flatnonzero(scores).tolist(), key=lambda at: (-scores[at], at))[:quota]
        for at in best:
            bits[at] = bits.get(at, 0) | BIT(name)
    for at in towers[own:].tolist():
        if len(bits) < total and at not in bits:
            bits[at] = BIT("fill")
    return bits


def test_what_sources_agree_on_is_filled_from_further_down_the_towers_list() -> None:
    towers = np.array([[4, 3, 2, 1, 0]], np.int32)
    position, source, place = united(towers, 2, {"cooccurrence": np.array([[3, 9, 2, NOTHING]], np.int32)})
    assert position.tolist() == [[4, 3, 9, 2, 1]]
    both = BIT("towers") | BIT("cooccurrence")
    assert source.tolist() == [[BIT("towers"), both, BIT("cooccurrence"), BIT("cooccurrence"), BIT("fill")]]
    assert place.tolist() == [[1, 2, 0, 3, 4]]


def test_a_source_that_says_the_same_of_all_says_nothing() -> None:
    scores = {"towers": np.array([[3.0, 1.0, 2.0]], np.float32), "new": np.full((1, 3), 7.0, np.float32)}
    weights = {"towers": 1.0, "new": 5.0}
    assert fused(scores, weights) == pytest.approx(np.array([[1.2247, -1.2247, 0.0]]), abs=1e-3)
    assert fused(scores, {"towers": 0.0, "new": 0.0}).tolist() == [[0.0, 0.0, 0.0]]


def test_negative_scores_are_ordered_too_and_ties_stand_by_position() -> None:
    score = np.array([[-1.0, 2.0, 0.0, -3.0, 2.0, 0.0]], np.float32)
    assert best_first(score, np.array([[5, 9, 8, 1, 2, 7]], np.int32)).tolist() == [[4, 1, 5, 2, 0, 3]]


def test_the_towers_alone_keep_order_and_dot_product() -> None:
    found = Found(np.array([[7, 2]], np.int32), np.array([[0.5, 0.25]], np.float32), 0)
    mixed = towers_alone(found)
    assert mixed.item_index is found.item_index
    assert mixed.score is found.score is mixed.by_source["towers"]
    assert mixed.source.tolist() == [[1, 1]]
