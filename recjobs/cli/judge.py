"""`recjobs evaluate`: judge a published date on the days after it."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Annotated, Any

import typer

from recjobs import storage
from recjobs.cli.options import DEFAULT_CONFIG, AsJson, Config, Overrides, as_date, settings_of
from recjobs.cli.printing import output, print_json, print_table
from recjobs.errors import MissingInputError
from recjobs.manifest import load
from recjobs.plan import Plan, plans_of
from recjobs.settings import Settings


def evaluate(
    date_: Annotated[str, typer.Option("--date", "-d", help="The data date whose lists are judged, YYYY-MM-DD.")],
    days: Annotated[
        int | None, typer.Option("--days", min=1, help="Days of outcomes after it; [time] label_days by default.")
    ] = None,
    sources: Annotated[
        bool, typer.Option("--sources", help="Judge the candidate sources instead: what each found, and found alone.")
    ] = False,
    config: Config = DEFAULT_CONFIG,
    overrides: Overrides = None,
    as_json: AsJson = False,
) -> None:
    """Judge the lists of a date on what happened in the days after it, beside popularity.

    Full ranking: every user with an outcome counts. The lists and the baseline saw nothing later
    than that date; the outcomes are read from the sources, by this command alone.
    """
    settings = settings_of(config, overrides)
    ds = as_date(date_)
    days = days or settings.time.label_days
    if sources:
        _print_sources(ds, judge_sources_of(settings, ds, days), as_json)
        return
    rows = judge_date(settings, ds, days)
    if as_json:
        print_json(rows)
        return
    for surface in dict.fromkeys(row["surface"] for row in rows):
        mine = [row for row in rows if row["surface"] == surface]
        header, cells = side_by_side(mine)
        print_table(f"lists of {ds} on {surface}, judged on the days after it, until {mine[0]['until']}", header, cells)
    if not rows:
        output.print("nothing to judge: no user with a list had an outcome in these days.")
        raise typer.Exit(1)


def judge_date(settings: Settings, ds: date, days: int) -> list[dict[str, Any]]:
    """The metric rows of the newest finished lists of `ds` on the `days` after it.

    Raises:
        MissingInputError: there are no finished lists of that date.
        NotArrivedError: the last of these days has not arrived.
    """
    from recjobs.evaluate.judging import judge
    from recjobs.evaluate.outcomes import outcomes_from_sources

    plan = finished_plan(settings, ds)
    until = ds + timedelta(days=days)
    lists, states = (load(plan.steps[name].manifest_uri) for name in ("compose", "extract"))
    return judge(lists, states, outcomes_from_sources(settings, ds, until), settings, until)


def judge_sources_of(settings: Settings, ds: date, days: int) -> list[dict[str, Any]]:
    """What each source of the candidates behind the same lists was worth on the same days: rows of `sources.json`.

    Raises:
        MissingInputError, NotArrivedError: as for `judge_date`.
    """
    from recjobs.evaluate import judging
    from recjobs.evaluate.contribution import judge_sources
    from recjobs.evaluate.outcomes import outcomes_from_sources

    plan = finished_plan(settings, ds)
    until = ds + timedelta(days=days)
    search, states = (load(plan.steps[name].manifest_uri) for name in ("retrieve/search", "extract"))
    outcomes = outcomes_from_sources(settings, ds, until)
    found = judge_sources(search, outcomes, judging.judged_items(states, settings))
    return judging.dated(found.rows(), ds=until, judged=ds, until=until)


def _print_sources(ds: date, rows: list[dict[str, Any]], as_json: bool) -> None:
    if as_json:
        print_json(rows)
        return
    header = ["source", "share", "alone", "recall", "recall_alone"]
    title = f"sources of the candidates of {ds}, on what {rows[0]['users']:,} users had until {rows[0]['until']}"
    print_table(title, header, [[row[name] for name in header] for row in rows])


def finished_plan(settings: Settings, ds: date) -> Plan:
    """The highest-numbered plan of `ds` whose lists were published.

    Raises:
        MissingInputError: there is none.
    """
    for plan in reversed(plans_of(settings, ds)):
        if storage.exists(plan.steps["publish"].manifest_uri):
            return plan
    raise MissingInputError(
        f"no published lists of {ds} in {settings.artefacts}. Run `recjobs run --date {ds}`; `recjobs status` lists "
        "what there is.",
        ds=str(ds),
    )


def side_by_side(rows: list[dict[str, Any]]) -> tuple[list[str], list[list[Any]]]:
    """Header and rows with a column for each list, a row for each metric and k; an interval beside its difference."""
    lists = list(dict.fromkeys(row["list"] for row in rows))
    values = {(row["metric"], row["k"], row["list"]): row["value"] for row in rows}
    users = {(row["metric"], row["k"]): row["users"] for row in rows if not row["metric"].endswith(("_low", "_high"))}
    cells = [
        [f"{metric}@{k}", *(_with_interval(values, metric, k, name) for name in lists), count]
        for (metric, k), count in users.items()
    ]
    return ["", *lists, "users"], cells


def _with_interval(values: dict[tuple[str, int, str], float], metric: str, k: int, name: str) -> Any:
    low, high = (values.get((f"{metric}_{end}", k, name)) for end in ("low", "high"))
    value = values.get((metric, k, name))
    return value if low is None or high is None else f"{value:+.4f} ({low:+.4f} to {high:+.4f})"
