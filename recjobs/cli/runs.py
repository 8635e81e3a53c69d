"""`recjobs run`, `backfill`, `status`: the job by hand."""

from __future__ import annotations

import time
from datetime import date, timedelta
from typing import Annotated, Any

import typer

from recjobs.cli.options import (
    DEFAULT_CONFIG,
    AsJson,
    Config,
    Overrides,
    as_date,
    overrides_of,
    settings_of,
)
from recjobs.cli.printing import print_json, print_table, progress
from recjobs.errors import MissingInputError, SettingsError
from recjobs.flow import STAGES
from recjobs.lineage import DateStatus, status_of
from recjobs.manifest import load
from recjobs.plan import load_plan, plan_run, planned_dates
from recjobs.settings import Settings
from recjobs.sources.pinning import event_days
from recjobs.stages import run_step

Date = Annotated[str | None, typer.Option("--date", "-d", help="The data date, YYYY-MM-DD; the newest by default.")]
Stage = Annotated[
    str | None,
    typer.Option("--stage", help=f"Stop after this stage: {', '.join(STAGES)}. What was done before is skipped."),
]


def run(
    date_: Date = None,
    stage: Stage = None,
    config: Config = DEFAULT_CONFIG,
    overrides: Overrides = None,
    as_json: AsJson = False,
) -> None:
    """Run the whole job for one data date, from events to published lists.

    Reads events until the end of that day and nothing later. Steps whose inputs, settings and code
    have not changed are skipped, so the same command again changes nothing.
    """
    settings = settings_of(config, overrides)
    ds = as_date(date_) if date_ else newest_date(settings)
    rows = run_date(config, ds, overrides_of(overrides), until_stage=stage)
    if as_json:
        print_json(rows)
    else:
        print_table(f"{settings.dataset}, {ds}", ["step", "seconds", "rows"], [_run_row(row) for row in rows])


def backfill(
    from_: Annotated[str, typer.Option("--from", help="The first data date.")],
    to: Annotated[str, typer.Option("--to", help="The last data date, included.")],
    config: Config = DEFAULT_CONFIG,
    overrides: Overrides = None,
    as_json: AsJson = False,
) -> None:
    """Run past dates, oldest first. A generation older than the live one never replaces it."""
    first, last = as_date(from_), as_date(to)
    if last < first:
        raise SettingsError(f"--from {first} is after --to {last}: exchange them.", first=str(first), last=str(last))
    done: dict[str, list[dict[str, Any]]] = {}
    for offset in range((last - first).days + 1):
        ds = first + timedelta(days=offset)
        progress.print(f"[bold]{ds}[/] ({offset + 1} of {(last - first).days + 1})")
        done[str(ds)] = run_date(config, ds, overrides_of(overrides))
    if as_json:
        print_json(done)
        return
    rows = [[ds, len(steps), sum(step["seconds"] for step in steps)] for ds, steps in done.items()]
    print_table("backfilled", ["date", "steps", "seconds"], rows)


def status(config: Config = DEFAULT_CONFIG, overrides: Overrides = None, as_json: AsJson = False) -> None:
    """What was run for each date, what it waits for, and what has become stale since.

    A date is stale when a file or an earlier result that it was made from has changed.
    """
    settings = settings_of(config, overrides)
    found = [status_of(settings, ds) for ds in planned_dates(settings)]
    if as_json:
        print_json([vars(entry) for entry in found])
        return
    print_table(
        f"{settings.dataset} in {settings.artefacts}",
        ["date", "plan", "done", "next", "stale because"],
        map(_row, found),
    )


def run_date(
    config: str, ds: date, overrides: dict[str, Any], *, until_stage: str | None = None
) -> list[dict[str, Any]]:
    """Plans and runs `ds`; a row per step with its seconds and counts."""
    if until_stage is not None and until_stage not in STAGES:
        raise SettingsError(
            f"--stage {until_stage!r}: no such stage. There are {', '.join(STAGES)}.", stage=until_stage
        )
    plan_uri = plan_run(config, ds, overrides)
    plan = load_plan(plan_uri)
    progress.print(f"plan {plan.sequence} of {ds}: {plan_uri}")
    for note in plan.notes:
        progress.print(f"  {note}", style="dim")
    rows: list[dict[str, Any]] = []
    for position, name in enumerate(plan.steps, start=1):
        progress.print(f"[{position}/{len(plan.steps)}] {name}", style="bold", markup=False)
        started = time.perf_counter()
        manifest = load(run_step(plan_uri, name))
        rows.append(
            {
                "step": name,
                "seconds": round(time.perf_counter() - started, 2),
                "rows": manifest.rows,
                "metrics": manifest.metrics,
                "notes": manifest.notes,
                "manifest": plan.steps[name].manifest_uri,
            }
        )
        if name == until_stage:
            break
    return rows


def newest_date(settings: Settings) -> date:
    """The newest date with events.

    Raises:
        MissingInputError: there is none.
    """
    days = event_days(settings)
    if not days:
        raise MissingInputError(
            f"{settings.events.path}: no day of events. `recjobs generate` or `recjobs import` writes some.",
            path=settings.events.path,
        )
    return days[-1]


def _run_row(row: dict[str, Any]) -> list[Any]:
    return [row["step"], row["seconds"], ", ".join(f"{count:,} {name}" for name, count in row["rows"].items())]


def _row(entry: DateStatus) -> list[Any]:
    done = f"{entry.done} of {entry.steps}"
    return [str(entry.ds), entry.plan, done, entry.next_step, "\n".join(entry.stale[:5]) or None]
