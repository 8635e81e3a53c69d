from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from recjobs.retrieve.search.sources import scores as module
from recjobs.retrieve.search.sources.scores import NOTHING, SparseScores, csr, top_of


@settings(max_examples=60, deadline=None)
@given(
    dense=arrays(
        np.float32, st.tuples(st.integers(1, 6), st.integers(1, 12)), elements=st.sampled_from([0, 0.5, 1, 9])
    ),
    quota=st.integers(1, 15),
)
def test_the_best_come_first_ties_by_position_and_nothing_without_a_score(dense: np.ndarray, quota: int) -> None:
    rows, at = np.nonzero(dense)
    found = SparseScores(csr(dense[rows, at], rows, at, dense.shape)).top(quota)
    assert found.shape == (len(dense), quota)
    for row, best in zip(dense, found.tolist(), strict=True):
        wanted = sorted(np.flatnonzero(row).tolist(), key=lambda item: (-row[item], item))[:quota]
        assert best == wanted + [NOTHING] * (quota - len(wanted))
    assert top_of(dense, quota).tolist() == found.tolist()


def test_scores_are_looked_up_in_small_pieces(monkeypatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setattr(module, "_SCRATCH_CELLS", 25)
    dense = np.random.default_rng(1).random((7, 10)).astype(np.float32) * (np.arange(70).reshape(7, 10) % 3 == 0)
    rows, at = np.nonzero(dense)
    wanted = np.random.default_rng(2).integers(0, 10, (7, 4)).astype(np.int32)
    found = SparseScores(csr(dense[rows, at], rows, at, dense.shape)).of(wanted)
    assert found.tolist() == np.take_along_axis(dense, wanted.astype(np.int64), axis=1).tolist()
