"""Settings of the relations between a candidate and its user's history."""

from __future__ import annotations

from pydantic import Field

from recjobs.typed import Section


class RelationsConfig(Section):
    """Features of what followed what in everybody's sequences, and of how alike the items' texts are."""

    enabled: bool = False
    """Whether the ranker has them; they cost a pass over the users in training and in scoring."""
    reach: int = Field(20, ge=1)
    """How many events two of a user's may be apart to be counted together."""
    neighbours: int = Field(300, ge=1)
    """Related items kept per item, the nearest."""
    shrinkage: float = Field(5.0, gt=0)
    """Events added to each item's own, so that what was seen once says little."""
