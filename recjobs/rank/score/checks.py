"""Post-conditions of `rank/score`."""

from __future__ import annotations

from recjobs.manifest import Check


def all_scored(pairs: int, candidates: int) -> Check:
    """Every candidate has a score."""
    return Check(
        name="all_candidates_scored",
        passed=pairs == candidates,
        value=pairs,
        limit=candidates,
        detail=f"{pairs} of {candidates} candidates have a score",
    )


def users_with_candidates(without: int, users: int) -> Check:
    """Warns when users have no candidates; their lists will come from fallbacks alone."""
    return Check(
        name="users_with_candidates",
        passed=without == 0,
        value=without,
        limit=0,
        detail=f"{without} of {users} users have no candidates",
        severity="warn",
    )
