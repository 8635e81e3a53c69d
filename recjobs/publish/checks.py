"""Post-conditions of `publish`: what the database took is what `compose` wrote."""

from __future__ import annotations

from collections.abc import Mapping

from recjobs.manifest import Check

USER_LISTS = "user_lists"


def all_rows_stored(written: Mapping[str, int], stored: Mapping[str, int], forgotten: int = 0) -> Check:
    """Every row that compose wrote is in its table: the value is the rows missing or too many.

    `forgotten` user lists went since they were stored; they may be gone from compose's files as well by now.
    """
    off = {table: stored.get(table, 0) - rows for table, rows in written.items() if stored.get(table, 0) != rows}
    if 0 < off.get(USER_LISTS, 0) <= forgotten:
        del off[USER_LISTS]
    detail = ", ".join(f"{table} {difference:+d} rows" for table, difference in off.items()) or "all rows are stored"
    return Check(
        name="all_rows_stored",
        passed=not off,
        value=float(sum(abs(difference) for difference in off.values())),
        limit=0.0,
        detail=detail,
    )
