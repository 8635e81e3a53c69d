"""What was run for a date, and whether what it was made from has changed since (DESIGN §3)."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date

from recjobs import storage
from recjobs.errors import RecjobsError
from recjobs.flow import EARLIER, JUDGED
from recjobs.plan import Plan, changed_sources, make_plan, plans_of
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
    """Why running `plan`'s date again would give something else; late data first, then ancestors, then settings."""
    try:
        now = make_plan(settings, plan.config, plan.ds)
        reasons = changed_sources(plan, pin_sources(settings, plan.ds))
    except RecjobsError as error:
        return [str(error)]
    reasons += _changed_ancestors(plan, now)
    if not reasons and _decides_lists(now) != _decides_lists(plan):
        reasons = ["settings or code have changed since"]
    return reasons


def _changed_ancestors(plan: Plan, now: Plan) -> list[str]:
    before, after = (planned.steps["rank/train"].inputs for planned in (plan, now))
    names = [name for name in before if name.startswith(f"{EARLIER}/")]
    return [f"{name} would be another one now (was {before[name]})" for name in names if before[name] != after[name]]


def _decides_lists(plan: Plan) -> dict[str, str]:
    """The runs that decide what is published; which older lists are judged beside it does not."""
    return {
        name: step.run
        for name, step in plan.steps.items()
        if name not in ("evaluate", "publish") and not name.startswith((f"{EARLIER}/", f"{JUDGED}/"))
    }
