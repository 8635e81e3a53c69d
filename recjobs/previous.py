"""What a run goes on from: the newest results of a date before its own that still stand (DESIGN §3).

Looked for in the plans of earlier dates, newest first, so that nothing depends on the clock and the run
for an old date sees nothing younger. What was made from files or results that have changed since is
passed over, and whatever was made from that too.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta

from recjobs import __version__, storage
from recjobs.errors import RecjobsError
from recjobs.flow import EARLIER, PREVIOUS, code_digest
from recjobs.manifest import DRIFT, PREVIOUS_EXTRACT, PREVIOUS_TRAIN, WARM_NIGHTS, Manifest, SourceFile, Sources, load
from recjobs.plans import Plan, changed_sources, differences, planned_dates, plans_of, recipe_settings
from recjobs.settings import Settings
from recjobs.sources.pinning import pin_sources

EXTRACT, TRAIN = "extract", "retrieve/train"


@dataclass(frozen=True)
class Pinned:
    """The inputs to go on from (none: start anew), and what the plan says of it."""

    inputs: dict[str, str]
    note: str


def previous_extract(settings: Settings, ds: date, sources: Sources) -> Pinned:
    """The newest extract before `ds` that tonight's can go on from.

    It was made by the same code, settings and number of shards; the files it read are those that `sources`, tonight's,
    have of these days; and it lacks nobody whom tonight's must have.
    """
    refused: list[str] = []
    for plan in _plans_before(settings, ds, settings.time.window_days):
        reasons = _unlike(settings, plan, EXTRACT) or _unread(plan, sources)
        if not reasons:
            uri = plan.steps[EXTRACT].manifest_uri
            return Pinned({PREVIOUS_EXTRACT: uri}, f"extract goes on from {plan.ds}, plan {plan.sequence}")
        refused.append(f"that of {plan.ds} does not do: {reasons[0]}")
    return Pinned({}, "extract reads the whole window: " + (refused[0] if refused else "there is no earlier one"))


def previous_train(settings: Settings, ds: date, sources: Sources) -> Pinned | None:
    """The newest towers before `ds` to go on from, with the extract they were trained on; None where there are none.

    Empty where the towers are there and a training in full is due.
    """
    config = settings.retrieve.train
    if not config.warm_start or config.full_every == 1:
        return Pinned({}, "towers are trained in full, as settings want it every night")
    for plan in _plans_before(settings, ds, settings.time.window_days):
        if _unlike(settings, plan, EXTRACT) or _unlike(settings, plan, TRAIN) or broken(settings, plan, sources):
            continue
        if due := _full_is_due(settings, load(plan.steps[TRAIN].manifest_uri)):
            return Pinned({}, f"towers are trained in full: {due}")
        inputs = {
            PREVIOUS_EXTRACT: plan.steps[EXTRACT].manifest_uri,
            PREVIOUS_TRAIN: plan.steps[TRAIN].manifest_uri,
        }
        return Pinned(inputs, f"towers go on from those of {plan.ds}, plan {plan.sequence}")
    return None


def own_train(settings: Settings, ds: date, extract_run: str, sources: Sources) -> Pinned | None:
    """What the newest finished training of `ds` itself went on from, if it still stands: a re-run is the same run.

    So a night that was planned before an earlier one finished stays as it is.
    """
    for plan in reversed(plans_of(settings, ds)):
        if plan.steps[EXTRACT].run != extract_run or _unlike(settings, plan, TRAIN) or broken(settings, plan, sources):
            continue
        inputs = {name: uri for name, uri in plan.steps[TRAIN].inputs.items() if name.startswith(f"{PREVIOUS}/")}
        return Pinned(inputs, f"towers are those of plan {plan.sequence}")
    return None


def _full_is_due(settings: Settings, towers: Manifest) -> str | None:
    """Why the night after `towers` trains in full, or None where it goes on from them."""
    config = settings.retrieve.train
    nights = int(towers.metrics.get(WARM_NIGHTS, 0)) + 1
    drift = towers.metrics.get(DRIFT, 0.0)
    if nights >= config.full_every:
        return f"{nights} nights since the last time, and retrieve.train.full_every = {config.full_every}"
    if drift > config.drift_limit:
        return f"those of {towers.ds} have drifted by {drift:.3g}, retrieve.train.drift_limit = {config.drift_limit:g}"
    return None


def _plans_before(settings: Settings, ds: date, days: int) -> Iterator[Plan]:
    """Plans of the dates before `ds`, fewer than `days` before it, newest first."""
    for day in reversed(planned_dates(settings)):
        if ds - timedelta(days=days) < day < ds:
            yield from reversed(plans_of(settings, day))


def _unlike(settings: Settings, plan: Plan, stage: str) -> list[str]:
    """Why the plan's result of `stage` is none that today's settings and code would have made."""
    uri = plan.steps[stage].manifest_uri
    if not storage.exists(uri):
        return ["it is not finished"]
    made = load(uri)
    return [
        *(f"its check {check.name} failed" for check in made.checks if not check.passed and check.severity == "refuse"),
        *(["settings have changed"] if made.config != recipe_settings(settings, stage) else []),
        *(["the code has changed"] if made.code_version != f"{__version__}+{code_digest(stage)}" else []),
    ]


def _unread(plan: Plan, sources: Sources) -> list[str]:
    """Why tonight can't do with what the plan's extract had read: events that have changed, users who came back.

    Of the days that both read: what arrived before tonight's window can hold no event inside it. Snapshots are read
    anew every night. A user who was forgotten since has been taken out of the files.
    """
    before = plan.steps[EXTRACT].sources
    first = min((file.day for file in sources.events if file.day), default=plan.ds)
    changes = differences(
        "events",
        [file for file in before.events if file.day is not None and file.day >= first],
        [file for file in sources.events if file.day is not None and file.day <= plan.ds],
    )
    returned = set(before.forgotten) - set(sources.forgotten) or set(before.lifted) ^ set(sources.lifted)
    return [*changes, *(["a forgotten user has been remembered again"] if returned else [])]


# -- lineage


def broken(settings: Settings, plan: Plan, known: Sources | None = None) -> list[str]:
    """Why the plan's towers are not what its date would give today: a line each, empty where they are.

    A file that has changed, towers they went on from that were made anew, or the same of those. `known` are files
    pinned a moment ago: their digests are not taken again.
    """
    try:
        now = pin_sources(settings, plan.ds, _files(known))
    except RecjobsError as error:
        return [str(error)]
    return changed_sources(plan, now) or broken_past(settings, plan, known)


def broken_past(settings: Settings, plan: Plan, known: Sources | None = None) -> list[str]:
    """The same of what the plan's towers went on from, with the date at fault; empty where that was nothing."""
    uri = plan.steps[TRAIN].inputs.get(PREVIOUS_TRAIN)
    own = plan.steps.get(f"{EARLIER}/{TRAIN}")
    if uri is None:
        return []
    if own is not None and own.manifest_uri == uri:
        return _broken_simulation(settings, plan, known)
    ds = _date_in(uri)
    plans = plans_of(settings, ds)
    if anew := _made_anew(plans, uri):
        return [f"the towers of {ds} were made anew by plan {anew}"]
    source = next((other for other in plans if other.steps[TRAIN].manifest_uri == uri), None)
    if source is None:
        return [f"the towers of {ds} are of no plan that is kept"]
    reasons = broken(settings, source, known)
    return [f"the towers of {ds}, which these went on from: {reason}" for reason in reasons]


def _made_anew(plans: list[Plan], uri: str) -> int | None:
    """The number of a later plan that finished other towers than `uri` with its settings: no trial of other ones."""
    if not storage.exists(uri):
        return None
    config = load(uri).config
    for plan in reversed(plans):
        other = plan.steps[TRAIN].manifest_uri
        if other == uri:
            return None
        if storage.exists(other) and load(other).config == config:
            return plan.sequence
    return None


def _broken_simulation(settings: Settings, plan: Plan, known: Sources | None) -> list[str]:
    step = plan.steps[f"{EARLIER}/{EXTRACT}"]
    try:
        now = pin_sources(settings, step.ds, _files(known))
    except RecjobsError as error:
        return [str(error)]
    return changed_sources(plan, now, step.name)


def _files(sources: Sources | None) -> tuple[SourceFile, ...]:
    return () if sources is None else (*sources.events, *sources.items, *sources.users, *sources.titles)


def _date_in(uri: str) -> date:
    """The date of a run's place."""
    return next(date.fromisoformat(part[3:]) for part in uri.split("/") if part.startswith("ds="))
