"""The order of the steps (DESIGN §7): the one place that knows it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

from recjobs.compose.boosts import Boosts
from recjobs.compose.caps import Caps
from recjobs.compose.chance import Seed
from recjobs.compose.clusters import Codes
from recjobs.compose.cold_items import ColdItems, Passes
from recjobs.compose.config import ComposeConfig, SurfaceConfig
from recjobs.compose.cut import Cut
from recjobs.compose.dither import Dither
from recjobs.compose.explore import Explore
from recjobs.compose.fallbacks import ColdStart, Fill
from recjobs.compose.filters import Filters
from recjobs.compose.mmr import Mmr
from recjobs.compose.pins import Pins
from recjobs.compose.reasons import EventWords, Neighbours, Reasons
from recjobs.compose.reserve import Reserve
from recjobs.compose.rulebook import Limit, Rulebook
from recjobs.compose.rules import ByScore, Eligibility, NoRepeat
from recjobs.compose.steps import Step
from recjobs.compose.vectors import Floats


@dataclass(frozen=True)
class Plan:
    """What the steps of one surface are made from, besides `ComposeConfig`."""

    surface: str
    config: SurfaceConfig
    book: Rulebook
    seed: int
    ds: date
    vectors: Floats | None = None
    """[I + 1, D]; needed where the surface asks for MMR."""
    clusters: Codes | None = None
    """[I + 1]; needed where it caps clusters."""

    def seed_of(self, purpose: str) -> Seed:
        """Where the randomness of `purpose` comes from."""
        return Seed(self.seed, self.ds, self.surface, purpose)


def steps_of(
    config: ComposeConfig,
    neighbours: Neighbours,
    words: EventWords,
    plan: Plan | None = None,
    passes: Passes | None = None,
) -> tuple[Step, ...]:
    """The steps between scored candidates and finished lists, first to last.

    Without a `plan` those of no rules; `passes` is what cold items go by, None where they go by their own scores.
    """
    content: tuple[Step, ...] = (ColdItems(passes),) if passes is not None else ()
    rules = () if plan is None else _diversity(plan)
    filters = (Filters(plan.book.allowed),) if plan is not None and plan.book.filters else ()
    boosts = (Boosts(plan.book.boost),) if plan is not None and plan.book.boost.any() else ()
    cold = ColdStart(config.cold_threshold, config.cold_share)
    order = (Eligibility(), NoRepeat(), ByScore(), *boosts, cold, *rules, Fill())
    steps: tuple[Step, ...] = (*content, *filters, *order)
    if config.reasons == "none":
        return steps
    return (*steps, Reasons(neighbours, words, config.reason_history))


def _diversity(plan: Plan) -> tuple[Step, ...]:
    """The steps after the scores' own order and before lists are filled."""
    config, book, steps = plan.config, plan.book, list[Step]()
    capped = bool(book.limits) or config.clusters.at_most > 0
    explores = config.explores and len(book.pool) > 0
    if capped or book.pinned or explores:
        steps.append(Reserve(config.length if capped else 0))
    if config.mmr.relevance < 1 and plan.vectors is not None:
        steps.append(Mmr(plan.vectors, config.mmr))
    if limits := (*book.limits, *_cluster_limits(plan)):
        steps.append(Caps(limits, _name(plan)))
    if book.pinned or explores or config.dither.strength > 0:
        steps.append(Cut())
    if book.pinned:
        steps.append(Pins(book.pinned))
    if explores:
        steps.append(Explore(config.explore, book.pool, plan.seed_of("explore")))
    if config.dither.strength > 0:
        steps.append(Dither(config.dither.strength, plan.seed_of("dither")))
    return tuple(steps)


def _name(plan: Plan) -> str:
    """Caps and clusters are kept by one step: one after the other would undo each other."""
    kinds = [("caps", bool(plan.book.limits)), ("clusters", plan.config.clusters.at_most > 0)]
    return "_and_".join(kind for kind, there in kinds if there)


def _cluster_limits(plan: Plan) -> tuple[Limit, ...]:
    config = plan.config.clusters
    if config.at_most == 0 or plan.clusters is None:
        return ()
    return (Limit(plan.clusters, config.at_most, config.window, plan.config.length),)
