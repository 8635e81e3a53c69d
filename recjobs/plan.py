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

from pydantic import BaseModel, ConfigDict, ValidationError

from recjobs import __version__, storage
from recjobs.errors import CorruptFileError, MissingDateError, SettingsError
from recjobs.flow import EARLIER, EARLIER_STAGES, JUDGED, STAGES, code_digest
from recjobs.manifest import MANIFEST_NAME, SOURCE_KINDS, Cutoffs, SourceFile, Sources, cutoffs_of, digest_of
from recjobs.settings import Settings, load_settings, settings_from_dump
from recjobs.sources.pinning import pin_sources

PLAN_NAME = "plan.json"
_LOCATIONS = {"events": {"path"}, "items": {"path"}, "users": {"path"}, "beam": {"runner", "options"}}
"""Settings that say where, not what: they do not belong to a recipe."""


class _Record(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Step(_Record):
    """One stage to run, where its manifest will stand, and the manifests it reads."""

    name: str
    stage: str
    ds: date
    run: str
    run_folder: str
    cutoffs: Cutoffs
    inputs: dict[str, str] = {}
    sources: Sources = Sources()

    @property
    def manifest_uri(self) -> str:
        """Where the manifest stands when the step is done."""
        return storage.join(self.run_folder, MANIFEST_NAME)


class Plan(_Record):
    """Everything one run for `ds` will read and where it will write."""

    dataset: str
    config: str
    ds: date
    sequence: int
    digest: str
    settings: dict[str, Any]
    steps: dict[str, Step]
    notes: tuple[str, ...] = ()

    def stage_settings(self) -> Settings:
        """The settings as they were planned, with the database's URL of now: a plan keeps no secrets."""
        database = {**self.settings["database"], "url": load_settings(self.config).database.url}
        return settings_from_dump({**self.settings, "database": database})


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
    extract = builder.add("extract", ds, {}, sources=pin_sources(settings, ds))
    earlier, notes = _pin_earlier(builder, ds)
    train = builder.add("retrieve/train", ds, {"extract": extract})
    search = builder.add("retrieve/search", ds, {"extract": extract, "retrieve/train": train})
    ranker = builder.add("rank/train", ds, {"extract": extract, **earlier})
    score = builder.add("rank/score", ds, {"extract": extract, "retrieve/search": search, "rank/train": ranker})
    lists = builder.add("compose", ds, {"extract": extract, "retrieve/search": search, "rank/score": score})
    judged = _pin_judged(settings, ds)
    verdict = builder.add("evaluate", ds, {"extract": extract, "compose": lists, "retrieve/train": train, **judged})
    builder.add("publish", ds, {"extract": extract, "compose": lists, "evaluate": verdict})
    dump = _planned_settings(settings)
    digest = _digest({"settings": dump, "runs": {name: step.run for name, step in builder.steps.items()}})
    return Plan(
        dataset=settings.dataset,
        config=config,
        ds=ds,
        sequence=0,
        digest=digest,
        settings=dump,
        steps=_ordered(builder.steps),
        notes=tuple(notes),
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


def plan_uri(settings: Settings, ds: date, sequence: int) -> str:
    """Where the plan of that date and number stands."""
    return storage.join(settings.artefacts, "plan", f"ds={ds}", f"{sequence:04d}", PLAN_NAME)


def plans_of(settings: Settings, ds: date) -> list[Plan]:
    """The plans of `ds`, in the order of their numbers."""
    folder = storage.join(settings.artefacts, "plan", f"ds={ds}")
    return [load_plan(file.uri) for file in storage.list_files(folder) if file.name.endswith(PLAN_NAME)]


def planned_dates(settings: Settings) -> list[date]:
    """The dates that have a plan, oldest first."""
    folders = storage.list_folders(storage.join(settings.artefacts, "plan"))
    return [date.fromisoformat(name.removeprefix("ds=")) for name in folders]


def load_plan(uri: str) -> Plan:
    """The plan at `uri`.

    Raises:
        MissingInputError: none is there.
        CorruptFileError: it is no plan of this version.
    """
    try:
        return Plan.model_validate_json(storage.read_bytes(uri))
    except ValidationError as error:
        raise CorruptFileError(
            f"{uri} is no plan that this version reads ({error.error_count()} faults). Delete it and plan again.",
            uri=uri,
        ) from error


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
        return _digest(
            {
                "stage": stage,
                "ds": str(ds),
                "version": __version__,
                "code": code_digest(stage),
                "cutoffs": cutoffs.model_dump(mode="json"),
                "settings": recipe_settings(self.settings, stage),
                "inputs": {name: _place(self.settings, uri) for name, uri in inputs.items()},
                "sources": {kind: [_identity(file) for file in getattr(sources, kind)] for kind in SOURCE_KINDS},
                # With nobody forgotten a recipe is what it was before forgetting was thought of.
                **{name: who for name in ("forgotten", "lifted") if (who := getattr(sources, name))},
            }
        )


def recipe_settings(settings: Settings, stage: str) -> dict[str, Any]:
    """The settings that decide what `stage` makes: the sections it declares, without locations and secrets."""
    sections = {"dataset", "seed", "events", *STAGES[stage].sections} - {"database"}
    return settings.model_dump(mode="json", include=sections, exclude=_LOCATIONS)


def _planned_settings(settings: Settings) -> dict[str, Any]:
    return settings.model_dump(mode="json", exclude={"database": {"url"}})


def _identity(file: SourceFile) -> list[str | None]:
    return [str(file.day) if file.day else None, file.uri.rsplit("/", 1)[-1], file.digest]


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


def _usable(plan: Plan, settings: Settings, sources: Sources) -> dict[str, str] | None:
    """The plan's extract and candidates, if they are there, its sources unchanged and its shards ours."""
    wanted = {f"{EARLIER}/{stage}": plan.steps[stage].manifest_uri for stage in ("extract", "retrieve/search")}
    same_sources = changed_sources(plan, sources) == []
    same_shards = plan.settings["beam"]["shards"] == settings.beam.shards
    return wanted if same_sources and same_shards and all(map(storage.exists, wanted.values())) else None


def changed_sources(plan: Plan, sources: Sources) -> list[str]:
    """What file is new, gone or different in `sources` since `plan` pinned its own: a line each.

    Who was forgotten since is no such change: what the plan made has been rid of them.
    """
    changes: list[str] = []
    for kind in SOURCE_KINDS:
        before = {file.uri: file for file in getattr(plan.steps["extract"].sources, kind)}
        now = {file.uri: file for file in getattr(sources, kind)}
        changes += [f"{kind}: {uri} is new" for uri in now.keys() - before.keys()]
        changes += [f"{kind}: {uri} is gone" for uri in before.keys() - now.keys()]
        changes += [
            f"{kind}: {uri} has changed" for uri in now.keys() & before.keys() if now[uri].digest != before[uri].digest
        ]
    return sorted(changes)


def _pin_judged(settings: Settings, ds: date) -> dict[str, str]:
    """The lists of `ds - label_days` and the states of that date; the highest-numbered plan that finished them."""
    for plan in reversed(plans_of(settings, ds - timedelta(days=settings.time.label_days))):
        wanted = {f"{JUDGED}/{stage}": plan.steps[stage].manifest_uri for stage in ("extract", "compose")}
        if all(map(storage.exists, wanted.values())) and storage.exists(plan.steps["publish"].manifest_uri):
            return wanted
    return {}
