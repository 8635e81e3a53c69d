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
from recjobs.publish.connection import database_url
from recjobs.settings import Settings
from recjobs.stages import manifest_of
from recjobs.titles import ItemFacts, items_of

SURFACE = "home"
SHOWN = 6


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
    """Where the lists are, three users' lists, the metrics beside popularity, how long it took."""
    plan = plans_of(settings, nights[-1].ds)[-1]
    print_lists(settings, plan)
    print_metrics(plan)
    print_times(nights, seconds)
    print_place(settings)


def print_place(settings: Settings) -> None:
    """How to get at the lists from here."""
    live = reading.live(settings)
    output.print(f"\nLists live in Postgres: generation {live.ds}/{live.seq}" if live else "\nNothing is live.")
    example = f"select * from {settings.database.schema_name}.get_list('USER', '{SURFACE}', 20)"
    for line in (
        f"  psql '{database_url(settings.database)}' -c \"{example}\"",
        "  .venv/bin/recjobs db psql          the same, with the psql that came along",
        "  .venv/bin/recjobs show USER        a user's list with titles and reasons",
        "  make up                            Airflow's UI with these runs; make down stops it and Postgres",
    ):
        output.print(line, markup=False, highlight=False, soft_wrap=True)


def print_lists(settings: Settings, plan: Plan) -> None:
    """The lists of a busy user, an occasional one and a new one, as the app gets them."""
    extract = _manifest(plan, "extract")
    facts = items_of(extract)
    for example in examples(extract):
        rows = reading.show(settings, example.user, SURFACE, SHOWN)
        print_table(
            f"\n{example.user}: {example.kind}, {example.n_events} events",
            ["", "item", "title", "why"],
            [[row.position, row.item_id, facts.get(row.item_id, ItemFacts()).title, row.reason] for row in rows],
        )


def examples(extract: Manifest) -> list[Example]:
    """The user with the most events, the one in the middle, and one with the fewest; ties by id."""
    frames = [pl.read_parquet(file.uri, columns=[c.USER, c.N_EVENTS]) for file in extract.parts("users")]
    users = pl.concat(frames).sort(c.N_EVENTS, c.USER, descending=[True, False])
    kinds = {0: "the busiest user", users.height // 2: "a user in the middle", users.height - 1: "a new user"}
    return [Example(users[c.USER][place], kind, users[c.N_EVENTS][place]) for place, kind in kinds.items()]


def print_metrics(plan: Plan) -> None:
    """The lists of the date before, judged on what happened since, beside the baselines."""
    evaluate = _manifest(plan, "evaluate")
    rows = json.loads(storage.read_bytes(evaluate.uri("metrics.json")))
    mine = [row for row in rows if row["surface"] == SURFACE]
    if not mine:
        output.print(f"\nNo earlier lists to judge on {plan.ds} yet.")
        return
    lists = list(dict.fromkeys(row["list"] for row in mine))
    first = mine[0]
    print_table(
        f"\nLists of {first['judged']}, judged on the events until {first['until']}",
        ["metric", *lists],
        metric_rows(mine, lists),
    )


def metric_rows(rows: Sequence[dict[str, Any]], lists: Sequence[str]) -> list[list[Any]]:
    """A row for each metric at each length, a column for each kind of list."""
    values: dict[str, dict[str, float]] = {}
    for row in rows:
        name = row["metric"] if row["k"] is None else f"{row['metric']}@{row['k']}"
        values.setdefault(name, {})[row["list"]] = row["value"]
    return [[name, *(by_list.get(kind) for kind in lists)] for name, by_list in values.items()]


def print_times(nights: Sequence[Night], seconds: float) -> None:
    """Seconds by task and date, and in all."""
    names = list(dict.fromkeys(task.name for night in nights for task in night.tasks))
    taken = [{task.name: _seconds(task.seconds, task.state) for task in night.tasks} for night in nights]
    rows = [[name, *(tasks.get(name) for tasks in taken)] for name in names]
    rows.append(["the whole run", *(f"{night.seconds:.1f} s" for night in nights)])
    print_table("\nHow long it took", ["task", *(str(night.ds) for night in nights)], rows)
    output.print(f"All in all {seconds:.0f} s.")


def _seconds(seconds: float, state: str) -> str:
    return "not needed" if state == "skipped" else f"{seconds:.1f} s"


def _manifest(plan: Plan, step: str) -> Manifest:
    manifest = manifest_of(plan, step)
    assert manifest is not None, f"{step} of {plan.ds} has run"
    return manifest
