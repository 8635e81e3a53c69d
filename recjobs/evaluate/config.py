"""Settings of `evaluate`."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from recjobs.typed import Section


class EvaluateConfig(Section):
    """What lists are judged by, and what refuses them."""

    at: list[Annotated[int, Field(ge=1)]] = Field([10, 20], min_length=1)
    """List lengths k of the metrics."""
    outcome_types: list[str] = []
    """Event types that count as an outcome; by default all of positive weight."""
    bootstrap: int = Field(500, ge=50, le=10_000)
    """Resamplings of the users behind the confidence interval of a difference."""
    confidence: float = Field(0.95, gt=0.5, lt=1)
    """How much of the resamplings the interval covers."""
    sample_users: int = Field(10, ge=0, le=100)
    """Users whose history and list the report shows side by side."""
