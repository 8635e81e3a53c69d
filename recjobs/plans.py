"""What a plan is, and the plans that are stored: `recjobs/plan.py` makes them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import date
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from recjobs import storage
from recjobs.errors import CorruptFileError
from recjobs.flow import STAGES
from recjobs.manifest import MANIFEST_NAME, SOURCE_KINDS, Cutoffs, SourceFile, Sources
from recjobs.settings import Settings, load_settings, settings_from_dump

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


def relocated(plan: Plan, settings: Settings) -> Settings:
    """The settings of `plan` with the places of `settings`: who moves the data has changed none of it."""
    now = settings.model_dump(mode="json")
    moved = {
        section: {**then, **{key: now[section][key] for key in keys}}
        for section, keys in _LOCATIONS.items()
        if (then := plan.settings[section]) and now[section]
    }
    return settings_from_dump({**plan.settings, **moved, "root": now["root"]})


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


def recipe_settings(settings: Settings, stage: str) -> dict[str, Any]:
    """The settings that decide what `stage` makes: the sections it declares, without locations and secrets."""
    return settings.recipe([name for name in STAGES[stage].sections if name != "database"], _LOCATIONS)


def changed_sources(plan: Plan, sources: Sources, step: str = "extract") -> list[str]:
    """What file is new, gone or different in `sources` since `plan` pinned those of `step`: a line each.

    Who was forgotten since is no such change: what the plan made has been rid of them.
    """
    before = plan.steps[step].sources
    found = (differences(kind, getattr(before, kind), getattr(sources, kind)) for kind in SOURCE_KINDS)
    return sorted(line for lines in found for line in lines)


def differences(kind: str, before: Iterable[SourceFile], now: Iterable[SourceFile]) -> list[str]:
    """Which files are new, gone or different, a line each.

    A file is known by its day and name, as in a recipe: one that lies elsewhere now is the same.
    """
    old, new = _by_identity(before), _by_identity(now)
    come = [file for key in new.keys() - old.keys() for file in new[key]]
    gone = [file for key in old.keys() - new.keys() for file in old[key]]
    changed = [file for key in old.keys() & new.keys() for file in _changed(old[key], new[key])]
    told = ((come, "is new"), (gone, "is gone"), (changed, "has changed"))
    return sorted(f"{kind}: {file.uri} {what}" for files, what in told for file in files)


def _by_identity(files: Iterable[SourceFile]) -> dict[tuple[date | None, str], list[SourceFile]]:
    """Files by day and name; a day may have several of one name, in folders of its own."""
    found: dict[tuple[date | None, str], list[SourceFile]] = {}
    for file in files:
        found.setdefault((file.day, file.name), []).append(file)
    return found


def _changed(before: Sequence[SourceFile], now: Sequence[SourceFile]) -> list[SourceFile]:
    """Those of `now`, else of `before`, whose content the others have less often."""
    left = Counter(file.digest for file in now) - Counter(file.digest for file in before)
    gone = Counter(file.digest for file in before) - Counter(file.digest for file in now)
    return [file for file in now if left[file.digest]] or [file for file in before if gone[file.digest]]
