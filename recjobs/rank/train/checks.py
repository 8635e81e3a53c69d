"""Post-conditions of `rank/train`."""

from __future__ import annotations

from recjobs.manifest import Check
from recjobs.rank.train.judge import Verdict


def beats_retrieval(verdict: Verdict) -> Check:
    """Warns when the ranker adds nothing to retrieval order on held-out outcomes."""
    if not verdict.users:
        detail = "too few outcomes to judge by: lists keep retrieval order"
    elif verdict.weight:
        detail = f"NDCG +{verdict.gain:.4f} ± {verdict.gain_error:.4f} over {verdict.users} users"
    else:
        detail = (
            f"the best blend gains {verdict.gain:.4f} ± {verdict.gain_error:.4f} NDCG over {verdict.users} users, "
            "which may be chance: lists keep retrieval order"
        )
    return Check(
        name="ranker_beats_retrieval",
        passed=verdict.weight > 0,
        value=verdict.gain,
        limit=0.0,
        detail=detail,
        severity="warn",
    )
