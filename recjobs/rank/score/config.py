"""Settings of `rank/score`."""

from __future__ import annotations

from pydantic import Field

from recjobs.typed import Section


class RankScoreConfig(Section):
    """How candidates are scored."""

    batch_size: int = Field(32_768, ge=1)
    """Pairs that a core describes and scores at a time, whole users."""
