"""What was run for a date, and whether what it was made from has changed since (DESIGN §3)."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date, timedelta

from recjobs import storage
from recjobs.errors import RecjobsError
from recjobs.flow import MOST_WINDOWS, earlier_input
from recjobs.manifest import Sources
from recjobs.plans import Plan, changed_sources, plans_of
from recjobs.previous import broken, broken_past
from recjobs.settings import Settings
from recjobs.sources.pinning import pin_sources


@dataclass(frozen=True)
class DateStatus:
    """The newest plan of a date: how far it got, and why it is stale (empty when it is not)."""

    ds: date
    plan: int
    done: int
    steps: int
    next_step: str | None
    stale: list[str] = field(default_factory=list)


def status_of(settings: Settings, ds: date) -> DateStatus:
    """The status of the newest plan of `ds`, which must have one."""
    plan = plans_of(settings, ds)[-1]
    missing = [name for name, step in plan.steps.items() if not storage.exists(step.manifest_uri)]
    return DateStatus(
        ds=ds,
        plan=plan.sequence,
        done=len(plan.steps) - len(missing),
        steps=len(plan.steps),
        next_step=missing[0] if missing else None,
        stale=stale_reasons(settings, plan),
    )


def stale_reasons(settings: Settings, plan: Plan) -> list[str]:
    """Why `plan`'s lists are no longer what its date would give: a changed file, or an ancestor made anew.

    Changed settings or code are no such reason: they are somebody's decision, for the next run.
    """
    try:
        now = pin_sources(plan.stage_settings(), plan.ds)
    except RecjobsError as error:
        return [str(error)]
    return [
        *changed_sources(plan, now),
        *broken_past(settings, plan, now),
        *_forgotten_since(plan, now),
        *_remade_ancestors(settings, plan, now),
    ]


def _forgotten_since(plan: Plan, now: Sources) -> list[str]:
    """Whom the plan's models learnt from and would not today, or the other way round. Their rows went at once."""
    then, today = set(plan.steps["extract"].sources.forgotten), set(now.forgotten)
    told = ((today - then, "forgotten"), (then - today, "remembered again"))
    return [f"users: {len(users)} {what} since, models and counts do not know it yet" for users, what in told if users]


def _remade_ancestors(settings: Settings, plan: Plan, now: Sources) -> list[str]:
    """The candidates that the ranker learnt from, if a later plan of their date finished others, or they are stale."""
    ranker = plan.steps["rank/train"]
    reasons = []
    for window in range(1, MOST_WINDOWS + 1):
        if pinned := ranker.inputs.get(earlier_input("retrieve/search", window)):
            earlier = plan.ds - timedelta(days=window * ranker.cutoffs.label_days)
            reasons += _remade_candidates(settings, earlier, pinned, now)
    return reasons


def _remade_candidates(settings: Settings, earlier: date, pinned: str, now: Sources) -> list[str]:
    plans = plans_of(settings, earlier)
    for other in reversed(plans):
        if storage.exists(other.steps["publish"].manifest_uri):
            made = other.steps["retrieve/search"].manifest_uri
            if made != pinned:
                return [f"the candidates of {earlier} were made anew by plan {other.sequence}"]
    source = next((other for other in plans if other.steps["retrieve/search"].manifest_uri == pinned), None)
    reasons = broken(settings, source, now) if source is not None else []
    return [f"the candidates of {earlier}, which the ranker learnt from: {reason}" for reason in reasons]
