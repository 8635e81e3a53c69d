"""The gate: what was counted, as checks that refuse or warn."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from recjobs.evaluate.gate import USER_FAULTS, Seen
from recjobs.evaluate.judging import DIFFERENCE, Row
from recjobs.manifest import Check


def list_checks(seen: Mapping[str, Seen], surfaces: Iterable[str]) -> list[Check]:
    """A check for each surface and each promise of its users' lists; no fault is allowed."""
    return [
        _none(f"{surface}: {promise}", seen.get(surface, Seen()).faults[promise], fault)
        for surface in surfaces
        for promise, fault in USER_FAULTS.items()
    ]


def fault_checks(prefix: str, faults: Mapping[str, int]) -> list[Check]:
    """A check for each promise in `faults`, which are counts."""
    return [_none(f"{prefix}{promise}", count, "faults") for promise, count in faults.items()]


def users_check(counted: int, extracted: int) -> Check:
    """Whether the shards that were looked at hold as many users as `extract` says it wrote."""
    return Check(
        name="users are those of extract",
        passed=counted == extracted,
        value=counted,
        limit=extracted,
        detail=f"{counted} users in the shards, {extracted} in extract's manifest",
    )


def better_than_popularity(rows: Sequence[Row], k: int) -> list[Check]:
    """Warns on each surface whose recall at k is below popularity's with the whole confidence interval."""
    high = {row["surface"]: row for row in rows if _is(row, "recall_high", k)}
    return [
        Check(
            name=f"{surface}: recall@{k} not below popularity",
            passed=row["value"] >= 0,
            value=row["value"],
            limit=0,
            detail=f"upper end of the difference to popularity over {row['users']} users: {row['value']:.4f}",
            severity="warn",
        )
        for surface, row in high.items()
    ]


def _is(row: Row, metric: str, k: int) -> bool:
    return bool(row["list"] == DIFFERENCE and row["metric"] == metric and row["k"] == k)


def _none(name: str, count: int, fault: str) -> Check:
    return Check(name=name, passed=count == 0, value=count, limit=0, detail=f"{count} {fault}")
