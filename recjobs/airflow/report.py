"""What `make run` prints at its end."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from recjobs import columns as c
from recjobs import storage
from recjobs.airflow.home import AirflowHome
from recjobs.airflow.nights import Night
from recjobs.cli.printing import output, print_table, progress
from recjobs.manifest import Manifest
from recjobs.plan import Plan, plans_of
from recjobs.publish import reading
from recjobs.settings import Settings
from recjobs.stages import manifest_of
from recjobs.titles import ItemFacts, items_of

SURFACE = "home"
SHOWN = 6
DIFFERENCE = " - "
"""In the name of a list, as `evaluate` writes it: the difference of two."""


@dataclass(frozen=True)
class Example:
    """A user whose list is shown, and why this one."""

    user: str
    kind: str
    n_events: int


def print_failure(home: AirflowHome, nights: Sequence[Night]) -> None:
    """Says which task of which date failed."""
    for night in nights:
        failed = [task.name for task in night.tasks if task.state == "failed"]
        if failed:
            progress.print(f"{night.ds}: {', '.join(failed)} failed; its message is above.", style="bold red")
    if not nights:
        progress.print("Airflow could not run the DAG.", style="bold red")
    progress.print(f"The whole log is in {home.logs / 'nights'}. Lists that were live stay live.")


def print_report(settings: Settings, nights: Sequence[Night], seconds: float) -> None:
    """Three users' lists, the metrics beside popularity, how long it took, where the lists are."""
    plan = plans_of(settings, nights[-1].ds)[-1]
    shown = examples(_manifest(plan, "extract"))
    print_lists(settings, plan, shown)
    print_metrics(plan)
    print_times(nights, seconds)
    print_place(settings, shown[0].user)


def print_place(settings: Settings, user: str) -> None:
    """How to get at the lists from here."""
    live = reading.live(settings)
    call = f"select * from {settings.database.schema_name}.get_list('{user}', '{SURFACE}', 20)"
    lines = (
        f"The lists are in Postgres, generation {live.ds}/{live.seq}:" if live else "No lists are live.",
        f'  .venv/bin/recjobs db psql -- -c "{call}"',
        f"  .venv/bin/recjobs show {user:<22} the list of a user, with titles",
        "  .venv/bin/recjobs db url                its address, password included, for the app",
        "  make up                                     Airflow's UI with these runs; make down stops it and Postgres",
    )
    output.print()
    for line in lines:
        output.print(line, markup=False, highlight=False, soft_wrap=True)


def print_lists(settings: Settings, plan: Plan, shown: Sequence[Example]) -> None:
    """Their lists as the app gets them."""
    facts = items_of(_manifest(plan, "extract"))
    for example in shown:
        rows = reading.show(settings, example.user, SURFACE, SHOWN)
        _table(
            f"{example.user}: {example.kind}, {example.n_events} events",
            ["", "item", "title", "why"],
            [[row.position, row.item_id, facts.get(row.item_id, ItemFacts()).title, row.reason] for row in rows],
        )


def examples(extract: Manifest) -> list[Example]:
    """The user with the most events, the one in the middle, and one with the fewest; ties by id."""
    users = pl.concat(map(_activity, extract.parts("users"))).sort(c.N_EVENTS, c.USER, descending=[True, False])
    kinds = {0: "the busiest user", users.height // 2: "a user in the middle", users.height - 1: "a new user"}
    return [Example(users[c.USER][place], kind, users[c.N_EVENTS][place]) for place, kind in kinds.items()]


def _activity(part: storage.StoredFile) -> pl.DataFrame:
    with storage.reading(part.uri) as stream:
        return pl.read_parquet(stream, columns=[c.USER, c.N_EVENTS])


def print_metrics(plan: Plan) -> None:
    """The lists of the date before, judged on what happened since, beside the baselines."""
    evaluate = _manifest(plan, "evaluate")
    rows = json.loads(storage.read_bytes(evaluate.uri("metrics.json")))
    mine = [row for row in rows if row["surface"] == SURFACE]
    if not mine:
        output.print(f"\nThere are no earlier lists to judge on the events of {plan.ds} yet.")
        return
    compared = [kind for kind in dict.fromkeys(row["list"] for row in mine) if DIFFERENCE not in kind]
    _table(
        f"Lists of {mine[0]['judged']}, judged on what {mine[0]['users']:,} users did until {mine[0]['until']}",
        ["metric", *compared],
        metric_rows(mine, compared),
    )


def metric_rows(rows: Sequence[dict[str, Any]], compared: Sequence[str]) -> list[list[Any]]:
    """A row for each metric and length, a column for each kind of list; bounds and differences are left out."""
    values: dict[str, dict[str, float]] = {}
    for row in rows:
        if row["list"] in compared:
            values.setdefault(f"{row['metric']}@{row['k']}", {})[row["list"]] = row["value"]
    return [[name, *(by_list.get(kind) for kind in compared)] for name, by_list in values.items()]


def print_times(nights: Sequence[Night], seconds: float) -> None:
    """Seconds by task and date, and in all."""
    names = list(dict.fromkeys(task.name for night in nights for task in night.tasks))
    taken = [{task.name: _seconds(task.seconds, task.state) for task in night.tasks} for night in nights]
    rows = [[name, *(tasks.get(name) for tasks in taken)] for name in names]
    rows.append(["the whole run", *(f"{night.seconds:.1f} s" for night in nights)])
    _table("How long it took", ["task", *(str(night.ds) for night in nights)], rows)
    output.print(f"All in all {seconds:.0f} s.")


def _seconds(seconds: float, state: str) -> str:
    return "not needed" if state == "skipped" else f"{seconds:.1f} s"


def _table(title: str, header: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    output.print()
    print_table(title, header, rows)


def _manifest(plan: Plan, step: str) -> Manifest:
    manifest = manifest_of(plan, step)
    assert manifest is not None, f"{step} of {plan.ds} has run"
    return manifest
