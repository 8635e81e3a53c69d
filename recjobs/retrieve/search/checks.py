"""What must hold after the search."""

from __future__ import annotations

from recjobs.manifest import Check
from recjobs.retrieve.search.audit import Audit


def search_checks(audit: Audit, counts: dict[str, int], users: int) -> list[Check]:
    """Every user was searched, no candidate stands twice, recall reaches its floor."""
    return [
        Check(
            name="users_searched",
            passed=counts["users"] == users,
            value=counts["users"],
            limit=users,
            detail=f"{counts['users']} of {users} users have candidates",
        ),
        Check(
            name="no_duplicates",
            passed=counts["duplicates"] == 0,
            value=counts["duplicates"],
            limit=0,
            detail=f"{counts['duplicates']} of the users looked at have a candidate twice",
        ),
        Check(
            name="recall",
            passed=audit.recall >= audit.floor,
            value=audit.recall,
            limit=audit.floor,
            detail=f"recall at {audit.k} is {audit.recall:.4f} on {audit.users} users",
        ),
    ]
