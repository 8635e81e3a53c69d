"""Settings of `retrieve/search`."""

from __future__ import annotations

from pydantic import Field

from recjobs.retrieve.search.sources.config import SourcesConfig
from recjobs.typed import Section


class RetrieveSearchConfig(Section):
    """How many candidates each user gets, and how exactly they are found."""

    candidates: int = Field(200, ge=1)
    """Candidates per user that the towers bring; the other sources' quotas come on top."""
    sources: SourcesConfig = SourcesConfig()
    """The other candidate sources, and what each says in the retrieval order."""
    similar_items: int = Field(50, ge=1)
    """Similar items per item."""
    exact_below: int = Field(20_000, ge=0)
    """Catalogues smaller than this are searched exactly."""
    recall_floor: float = Field(0.98, gt=0, le=1)
    """Recall at K against exact search below which search falls back to exact."""
    audit_users: int = Field(1000, ge=1)
    """Users in the nightly audit against exact search."""

    @property
    def total(self) -> int:
        """K: candidates per user of all sources together."""
        return self.candidates + sum(self.sources.quotas.values())
