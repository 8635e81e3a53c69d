"""The order of the steps (DESIGN §7): the one place that knows it."""

from __future__ import annotations

from recjobs.compose.cold_items import ColdItems, Passes
from recjobs.compose.config import ComposeConfig
from recjobs.compose.fallbacks import ColdStart, Fill
from recjobs.compose.reasons import EventWords, Neighbours, Reasons
from recjobs.compose.rules import ByScore, Eligibility, NoRepeat
from recjobs.compose.steps import Step


def steps_of(
    config: ComposeConfig, neighbours: Neighbours, words: EventWords, passes: Passes | None = None
) -> tuple[Step, ...]:
    """The steps between scored candidates and finished lists, first to last; `passes` is what cold items go by."""
    content: tuple[Step, ...] = (ColdItems(passes),) if passes is not None else ()
    cold = ColdStart(config.cold_threshold, config.cold_share)
    steps: tuple[Step, ...] = (*content, Eligibility(), NoRepeat(), ByScore(), cold, Fill())
    if config.reasons == "none":
        return steps
    return (*steps, Reasons(neighbours, words, config.reason_history))
