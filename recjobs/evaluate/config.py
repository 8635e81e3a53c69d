"""Settings of `evaluate`."""

from __future__ import annotations

from recjobs.typed import Section


class EvaluateConfig(Section):
    """What lists are judged by, and what refuses them."""

    at: list[int] = [10, 20]
    """List lengths k of the metrics."""
    outcome_types: list[str] = []
    """Event types that count as an outcome; by default all of positive weight."""
