"""A run plans first: it pins every file and manifest it will read, before any stage starts (DESIGN §3).

A plan is a list of steps. Each step's run is named by its recipe: the digest of its code, its
settings, its cutoffs and the recipes of its inputs, down to the content of the source files. So
where a step writes is known before anything has run, the same inputs again lead to the same place,
and a changed ancestor leads elsewhere. Plans of a date are numbered; nothing is ever chosen by
wall clock.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import date, timedelta
from typing import Any

from recjobs import __version__, storage
from recjobs.errors import MissingDateError, MissingInputError, SettingsError
from recjobs.flow import EARLIER, EARLIER_STAGES, JUDGED, STAGES, code_digest, earlier_input
from recjobs.manifest import (
    PREVIOUS_EXTRACT,
    PREVIOUS_TRAIN,
    SOURCE_KINDS,
    Cutoffs,
    SourceFile,
    Sources,
    cutoffs_of,
    digest_of,
)
from recjobs.plans import (
    Plan,
    Step,
    changed_sources,
    load_plan,
    plan_uri,
    planned_dates,
    plans_of,
    recipe_settings,
)
from recjobs.previous import (
    Pinned,
    broken_past,
    own_train,
    previous_extract,
    previous_train,
)
from recjobs.settings import Settings, load_settings
from recjobs.sources.pinning import pin_sources

__all__ = [
    "Plan",
    "Step",
    "changed_sources",
    "load_plan",
    "make_plan",
    "plan_run",
    "plan_uri",
    "planned_dates",
    "plans_of",
    "recipe_settings",
    "store_plan",
]

_NOT_IN_RECIPE = {"extract": (PREVIOUS_EXTRACT,)}
"""Inputs that change nothing but the cost: an extract that went on from another equals one of the whole window."""


def plan_run(config: str, ds: date, overrides: Mapping[str, Any] | None = None) -> str:
    """Plans the run for `ds` and returns the plan's URI; the same inputs again give the same plan.

    Raises:
        NotArrivedError: the events of `ds` are not there yet.
        MissingDateError: a day in the window, or everything before `ds - label_days`, is missing.
        SettingsError: see `load_settings`; or `overrides` hold the database's URL.
    """
    if "database.url" in (overrides or {}):
        raise SettingsError(
            "database.url can't be overridden for one run: it holds a password, and a run's overrides are stored. "
            "Set it in the config file, or as RECJOBS__DATABASE__URL."
        )
    settings = load_settings(config, overrides)
    return store_plan(make_plan(settings, config, ds), settings)


def make_plan(settings: Settings, config: str, ds: date) -> Plan:
    """The plan for `ds` as of now, not stored yet (`sequence` 0)."""
    builder = _Builder(settings)
    sources = pin_sources(settings, ds)
    states = previous_extract(settings, ds, sources)
    extract = builder.add("extract", ds, states.inputs, sources=sources)
    earlier, notes = _pin_earlier(builder, ds)
    further, dates = _pin_further(settings, ds, sources)
    towers = _pin_towers(builder, ds, sources)
    train = builder.add("retrieve/train", ds, {"extract": extract, **towers.inputs})
    search = builder.add("retrieve/search", ds, {"extract": extract, "retrieve/train": train})
    ranker = builder.add("rank/train", ds, {"extract": extract, **earlier, **further})
    score = builder.add("rank/score", ds, {"extract": extract, "retrieve/search": search, "rank/train": ranker})
    lists = builder.add("compose", ds, {"extract": extract, "retrieve/search": search, "rank/score": score})
    judged = _pin_judged(settings, ds)
    verdict = builder.add("evaluate", ds, {"extract": extract, "compose": lists, "retrieve/train": train, **judged})
    builder.add("publish", ds, {"extract": extract, "compose": lists, "evaluate": verdict})
    dump = _planned_settings(settings)
    digest = _digest({"settings": dump, "steps": {name: _pins(settings, step) for name, step in builder.steps.items()}})
    return Plan(
        dataset=settings.dataset,
        config=config,
        ds=ds,
        sequence=0,
        digest=digest,
        settings=dump,
        steps=_ordered(builder.steps),
        notes=(states.note, *notes, *dates, towers.note),
    )


def store_plan(plan: Plan, settings: Settings) -> str:
    """Stores `plan` under the next number of its date, or finds the one that equals it."""
    while True:
        stored = plans_of(settings, plan.ds)
        for other in stored:
            if other.digest == plan.digest:
                return plan_uri(settings, other.ds, other.sequence)
        sequence = 1 + max((other.sequence for other in stored), default=0)
        uri = plan_uri(settings, plan.ds, sequence)
        numbered = plan.model_copy(update={"sequence": sequence})
        if storage.create_once(uri, numbered.model_dump_json(indent=2).encode()):
            return uri


class _Builder:
    """Names each step's run by its recipe."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.steps: dict[str, Step] = {}

    def add(
        self, stage: str, ds: date, inputs: dict[str, str], *, prefix: str = "", sources: Sources | None = None
    ) -> str:
        """Adds the step and returns the URI its manifest will have."""
        time = self.settings.time
        cutoffs = cutoffs_of(
            ds,
            train_lag_days=time.train_lag_days,
            history_lag_days=time.history_lag_days,
            label_days=time.label_days,
        )
        pinned = sources or Sources()
        run = self._recipe(stage, ds, cutoffs, inputs, pinned)
        step = Step(
            name=f"{prefix}{stage}",
            stage=stage,
            ds=ds,
            run=run,
            run_folder=storage.join(self.settings.artefacts, stage, f"ds={ds}", run),
            cutoffs=cutoffs,
            inputs=inputs,
            sources=pinned,
        )
        self.steps[step.name] = step
        return step.manifest_uri

    def _recipe(self, stage: str, ds: date, cutoffs: Cutoffs, inputs: dict[str, str], sources: Sources) -> str:
        left_out = _NOT_IN_RECIPE.get(stage, ())
        return _digest(
            {
                "stage": stage,
                "ds": str(ds),
                "version": __version__,
                "code": code_digest(stage),
                "cutoffs": cutoffs.model_dump(mode="json"),
                "settings": recipe_settings(self.settings, stage),
                "inputs": {name: _place(self.settings, uri) for name, uri in inputs.items() if name not in left_out},
                "sources": {kind: [_identity(file) for file in getattr(sources, kind)] for kind in SOURCE_KINDS},
                # With nobody forgotten a recipe is what it was before forgetting was thought of.
                **{name: who for name in ("forgotten", "lifted") if (who := getattr(sources, name))},
            }
        )


def _planned_settings(settings: Settings) -> dict[str, Any]:
    return settings.model_dump(mode="json", exclude={"database": {"url"}})


def _identity(file: SourceFile) -> list[str | None]:
    return [str(file.day) if file.day else None, file.uri.rsplit("/", 1)[-1], file.digest]


def _pins(settings: Settings, step: Step) -> list[Any]:
    """What a plan says of a step: its run, and what it reads, which a run's name may leave out."""
    return [step.run, sorted((name, _place(settings, uri)) for name, uri in step.inputs.items())]


def _place(settings: Settings, uri: str) -> str:
    """An input's URI below the dataset's folder, so that moving the root changes no recipe."""
    return uri.removeprefix(settings.artefacts)


def _digest(content: Any) -> str:
    return digest_of(json.dumps(content, sort_keys=True).encode())[:16]


def _ordered(steps: dict[str, Step]) -> dict[str, Step]:
    """Steps in the order they run: tonight's input first, so that a fault in it is told before anything is trained."""
    first, *_ = STAGES
    return dict(sorted(steps.items(), key=lambda named: (named[0] != first, not named[0].startswith(f"{EARLIER}/"))))


def _pin_earlier(builder: _Builder, ds: date) -> tuple[dict[str, str], list[str]]:
    """Candidates of `ds - label_days` and the states they were made from; simulated where none exist."""
    settings = builder.settings
    earlier = ds - timedelta(days=settings.time.label_days)
    try:
        sources = pin_sources(settings, earlier)
    except MissingDateError as error:
        raise MissingDateError(
            f"The run for {ds} needs a past to learn ranking from: {error} "
            f"Start at a date with at least {settings.time.label_days} more days of events before it.",
            **error.details,
        ) from error
    for plan in reversed(plans_of(settings, earlier)):
        if pinned := _usable(plan, settings, sources):
            return pinned, [f"ranker learns from the candidates of {earlier}, plan {plan.sequence}"]
    uris: dict[str, str] = {}
    for stage in EARLIER_STAGES:
        inputs = {name: uris[name] for name in STAGES[stage].inputs}
        uris[stage] = builder.add(
            stage, earlier, inputs, prefix=f"{EARLIER}/", sources=sources if stage == "extract" else None
        )
    note = f"no candidates of {earlier}: the run makes them first, from nothing later than that date"
    return {f"{EARLIER}/{stage}": uris[stage] for stage in ("extract", "retrieve/search")}, [note]


def _pin_further(settings: Settings, ds: date, sources: Sources) -> tuple[dict[str, str], list[str]]:
    """Candidates and states of the windows before the last, of those dates that have them; never simulated."""
    pinned: dict[str, str] = {}
    dates = []
    for window in range(2, settings.rank.train.label_windows + 1):
        earlier = ds - timedelta(days=window * settings.time.label_days)
        if found := _made_earlier(settings, earlier, sources, window):
            pinned |= found
            dates.append(str(earlier))
    return pinned, [f"ranker also learns from the candidates of {', '.join(dates)}"] if dates else []


def _made_earlier(settings: Settings, earlier: date, sources: Sources, window: int) -> dict[str, str] | None:
    """The usable extract and candidates of `earlier`'s newest plan that has them; `sources` are tonight's."""
    plans = plans_of(settings, earlier)
    try:
        then = pin_sources(settings, earlier, (*sources.events, *sources.items, *sources.users)) if plans else sources
    except (MissingDateError, MissingInputError):
        # What they were made from is no longer there to compare with.
        return None
    return next(filter(None, (_usable(plan, settings, then, window) for plan in reversed(plans))), None)


def _pin_towers(builder: _Builder, ds: date, sources: Sources) -> Pinned:
    """What tonight's towers go on from: earlier ones, on a first run those of the simulated past, or nothing."""
    settings = builder.settings
    known = own_train(settings, ds, builder.steps["extract"].run, sources) or previous_train(settings, ds, sources)
    if known is not None:
        return known
    extract, train = (builder.steps.get(f"{EARLIER}/{stage}") for stage in ("extract", "retrieve/train"))
    if extract is not None and train is not None:
        inputs = {PREVIOUS_EXTRACT: extract.manifest_uri, PREVIOUS_TRAIN: train.manifest_uri}
        return Pinned(inputs, f"towers go on from those of {train.ds}, made by this run")
    return Pinned({}, "towers are trained in full: there are none to go on from")


def _usable(plan: Plan, settings: Settings, sources: Sources, window: int = 1) -> dict[str, str] | None:
    """The plan's extract and candidates, if they are there, what they were made from unchanged and its shards ours."""
    wanted = {earlier_input(stage, window): plan.steps[stage].manifest_uri for stage in ("extract", "retrieve/search")}
    same_sources = changed_sources(plan, sources) == [] and broken_past(settings, plan) == []
    same_shards = plan.settings["beam"]["shards"] == settings.beam.shards
    return wanted if same_sources and same_shards and all(map(storage.exists, wanted.values())) else None


def _pin_judged(settings: Settings, ds: date) -> dict[str, str]:
    """The lists of `ds - label_days` and the states of that date; the highest-numbered plan that finished them."""
    for plan in reversed(plans_of(settings, ds - timedelta(days=settings.time.label_days))):
        wanted = {f"{JUDGED}/{stage}": plan.steps[stage].manifest_uri for stage in ("extract", "compose")}
        if all(map(storage.exists, wanted.values())) and storage.exists(plan.steps["publish"].manifest_uri):
            return wanted
    return {}
