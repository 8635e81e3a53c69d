"""The order of the steps (DESIGN §7): the one place that knows it."""

from __future__ import annotations

from recjobs.compose.config import ComposeConfig
from recjobs.compose.fallbacks import ColdStart, Fill
from recjobs.compose.reasons import EventWords, Neighbours, Reasons
from recjobs.compose.rules import ByScore, Eligibility, NoRepeat
from recjobs.compose.steps import Step


def steps_of(config: ComposeConfig, neighbours: Neighbours, words: EventWords) -> tuple[Step, ...]:
    """The steps between scored candidates and finished lists, first to last."""
    steps: tuple[Step, ...] = (Eligibility(), NoRepeat(), ByScore(), ColdStart(), Fill())
    if config.reasons == "none":
        return steps
    return (*steps, Reasons(neighbours, words, config.reason_history))
