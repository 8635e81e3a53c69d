"""Imports a data set and runs the real stages of a case, each in its own process, as a night would."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

from benchmarks.quality.cases import Case, DataSet
from recjobs import storage
from recjobs.manifest import Manifest, digest_of, load
from recjobs.plan import Plan, load_plan, plan_run
from recjobs.settings import Settings, home, load_settings
from recjobs.stages import run_step

logger = logging.getLogger("recjobs.quality")

SEARCH, COMPOSE = "retrieve/search", "compose"
IMPORTED = "imported"
WEEKS = "weeks"
_AFTER_CANDIDATES = ("rank.", "compose.", "evaluate.", "publish.")
"""Settings that no candidate depends on."""


def work_folder() -> Path:
    """Where everything of `make quality` is written."""
    return home() / "work" / "quality"


def import_once(data_set: DataSet, source: Path) -> None:
    """Imports `source`, unless the same files were imported by the same code before."""
    folder = work_folder() / data_set.name
    files = sorted(path for path in source.rglob("*") if path.is_file())
    importers = sorted((Path(storage.__file__).parent / "sources").glob("*.py"))
    digest = digest_of("".join(storage.digest(str(path)) for path in (*files, *importers)).encode())
    marker = folder / IMPORTED
    if not marker.is_file() or marker.read_text() != digest:
        logger.info("%s: importing %s", data_set.name, source)
        data_set.importer(source, str(folder / "data"))
        marker.write_text(digest)


def settings_of(data_set: DataSet, case: Case, seed: int, overrides: Mapping[str, Any]) -> Settings:
    """The settings that `run_case` runs with."""
    return load_settings(data_set.config, overrides_of(data_set, case, seed, overrides))


def overrides_of(data_set: DataSet, case: Case, seed: int, overrides: Mapping[str, Any]) -> dict[str, Any]:
    """Each case and seed has artefacts of its own: no run finds the models of another and goes on from them.

    Cases of one history share them by seed and by the settings that decide candidates: they are each other's past.
    """
    folder = work_folder() / data_set.name
    configured = load_settings(data_set.config)
    kinds = [kind for kind in ("events", "items", "users") if getattr(configured, kind) is not None]
    return {
        "root": str(folder / "artefacts" / _group(data_set, case, overrides) / str(seed)),
        "seed": seed,
        **{f"{kind}.path": str(folder / "data" / kind) for kind in kinds},
        **trained_in_full(),
        **case.overrides,
        **overrides,
    }


def _group(data_set: DataSet, case: Case, overrides: Mapping[str, Any]) -> str:
    if not data_set.one_history:
        return f"{case.protocol.replace(' ', '-')}-{case.ds}"
    deciding = {key: value for key, value in overrides.items() if not key.startswith(_AFTER_CANDIDATES)}
    return WEEKS + (f"-{digest_of(json.dumps(deciding, sort_keys=True).encode())[:8]}" if deciding else "")


def trained_in_full() -> dict[str, Any]:
    """Keeps training from going on from an earlier night's towers."""
    return {"retrieve.train.warm_start": False}


def run_case(
    data_set: DataSet, case: Case, seed: int, overrides: Mapping[str, Any], until: str = SEARCH
) -> dict[str, Manifest]:
    """Runs what step `until` needs, and it; finished steps are skipped. Returns manifests by step.

    Where the ranker is among them and the data set is one history, the candidates of the weeks before are made first.
    """
    if until == COMPOSE and data_set.one_history:
        _run_weeks_before(data_set, case, seed, overrides)
    uri = plan_run(data_set.config, case.ds, overrides_of(data_set, case, seed, overrides))
    plan = load_plan(uri)
    done = {}
    for step in needed_steps(plan, until):
        logger.info("%s %s, seed %d: %s", data_set.name, case.name, seed, step)
        done[step] = load(run_step(uri, step))
    return done


def _run_weeks_before(data_set: DataSet, case: Case, seed: int, overrides: Mapping[str, Any]) -> None:
    settings = settings_of(data_set, case, seed, overrides)
    for window in range(settings.rank.train.label_windows, 0, -1):
        before = replace(case, ds=case.ds - timedelta(days=window * settings.time.label_days))
        run_case(data_set, replace(before, name=str(before.ds)), seed, overrides, SEARCH)


def needed_steps(plan: Plan, until: str) -> list[str]:
    """Step `until` and the steps whose manifests it reads, directly or not, in the plan's order."""
    by_uri = {step.manifest_uri: name for name, step in plan.steps.items()}
    needed: set[str] = set()
    pending = [until]
    while pending:
        name = pending.pop()
        if name not in needed:
            needed.add(name)
            pending += [by_uri[uri] for uri in plan.steps[name].inputs.values() if uri in by_uri]
    return [name for name in plan.steps if name in needed]
