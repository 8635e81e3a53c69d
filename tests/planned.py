"""Plans over files that are never read, and manifests as their steps would leave them: for tests of planning."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path
from typing import Any

from recjobs import __version__, storage
from recjobs.flow import code_digest
from recjobs.manifest import Manifest
from recjobs.plan import Plan, load_plan, plan_run, recipe_settings

DS = date(2026, 3, 31)
CONFIG = """
dataset = "shop"
root = "{folder}/artefacts"
[time]
label_days = 2
[events]
path = "{folder}/events"
[events.types.view]
task = "click"
"""


def write_events(folder: Path, day: date, content: bytes) -> None:
    """Delivers a file of that arrival day."""
    # A plan looks at names and content digests only.
    storage.write_bytes(str(folder / "events" / f"date={day}" / "part-0.parquet"), content)


def plan_of(config: str, ds: date = DS, **overrides: object) -> Plan:
    """The stored plan of the date; overrides with `__` for dots."""
    return load_plan(plan_run(config, ds, {key.replace("__", "."): value for key, value in overrides.items()}))


def finish(plan: Plan, *steps: str, **told: Any) -> None:
    """Leaves manifests as the steps would, without their files; `told` is what they say besides."""
    for name in steps or plan.steps:
        step = plan.steps[name]
        made = Manifest(
            stage=step.stage,
            ds=step.ds,
            run=step.run,
            attempt="a",
            folder=f"{step.run_folder}/a",
            cutoffs=step.cutoffs,
            sources=step.sources,
            config=recipe_settings(plan.stage_settings(), step.stage),
            code_version=f"{__version__}+{code_digest(step.stage)}",
        )
        storage.create_once(step.manifest_uri, made.model_copy(update=told).model_dump_json().encode())


def open_shop(folder: Path) -> str:
    """A config with ten days of events up to DS."""
    path = folder / "shop.toml"
    path.write_text(CONFIG.format(folder=folder))
    for offset in range(10):
        write_events(folder, DS - timedelta(days=offset), b"first")
    return str(path)
