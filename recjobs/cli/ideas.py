"""`recjobs ideas`: what segments want and the catalogue has little of."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from recjobs.cli.options import DEFAULT_CONFIG, AsJson, Config, Overrides, as_date, settings_of
from recjobs.cli.printing import print_json, print_table
from recjobs.columns import GLOBAL_SEGMENT


def ideas(
    segment: Annotated[
        str | None, typer.Option("--segment", help="One segment, country=GB say; all of them by default.")
    ] = None,
    n: Annotated[int, typer.Option("-n", min=1, max=1000, help="How many ideas for each segment.")] = 5,
    date_: Annotated[
        str | None, typer.Option("--date", "-d", "--ds", help="The data date; the newest with lists by default.")
    ] = None,
    config: Config = DEFAULT_CONFIG,
    overrides: Overrides = None,
    as_json: AsJson = False,
) -> None:
    """What people want and find little of: for buyers and creators.

    Kinds of items by who wants them, named by their telling words; those that each segment wants most beyond their
    share of what can be shown come first.
    """
    from recjobs.explain.wishes import wishes

    found = wishes(settings_of(config, overrides), as_date(date_) if date_ else None, segment, n)
    if as_json:
        print_json({"ds": str(found.ds), "run": found.run, "ideas": found.rows})
        return
    header = ["segment", "wanted", "demand", "supply", "ratio", "items", "such as"]
    print_table(f"wanted and thinly supplied, {found.ds}", header, map(_cells, found.rows))


def _cells(row: dict[str, Any]) -> list[Any]:
    return [
        "everybody" if row["segment"] == GLOBAL_SEGMENT else row["segment"],
        ", ".join(row["words"]) or f"cluster {row['cluster']}",
        f"{row['demand_share']:.1%}",
        f"{row['supply_share']:.1%}",
        f"{row['ratio']:.1f}",
        row["items"],
        "; ".join(row["example_titles"]),
    ]
