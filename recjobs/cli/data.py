"""`recjobs generate` and `recjobs import`: input to run on."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path
from typing import Annotated

import typer
from pydantic import BaseModel

from recjobs.cli.options import DEFAULT_CONFIG, AsJson, Config, Overrides, as_date, settings_of
from recjobs.cli.printing import output, print_json, print_table
from recjobs.errors import SettingsError
from recjobs.settings import load_settings, resolve
from recjobs.sources.importing import ImportReport
from recjobs.sources.online_retail import import_online_retail
from recjobs.sources.sequences import LAST_DATE, import_sequences

importers = typer.Typer(no_args_is_help=True, help="Bring a known data set into the input contract.")

Source = Annotated[Path, typer.Argument(help="The file or folder to read.")]
Into = Annotated[
    str | None, typer.Option("--into", help="The folder to write below; by default where the shipped config reads.")
]


def generate(
    until: Annotated[
        str | None, typer.Option("--until", help="The last day, YYYY-MM-DD; yesterday (UTC) by default.")
    ] = None,
    keep: Annotated[bool, typer.Option("--keep", help="Leave days that are there, played ones among them.")] = False,
    config: Config = DEFAULT_CONFIG,
    overrides: Overrides = None,
    as_json: AsJson = False,
) -> None:
    """Generate a marketplace with known tastes: events, items and users, day by day, from a seed.

    Size, seed and the share of dirty rows are in the config's [marketplace] section.
    """
    from recjobs.sources.marketplace.generation import generate as generate_marketplace

    settings = settings_of(config, overrides)
    if settings.marketplace is None:
        raise SettingsError(f"{config}: no [marketplace] section, so there is nothing to generate.", config=config)
    last = as_date(until) if until else _yesterday()
    report = generate_marketplace(settings.marketplace, folder_of(settings.events.path), last, keep=keep)
    _print_report(report, as_json)


@importers.command("online-retail")
def online_retail(source: Source, into: Into = None, as_json: AsJson = False) -> None:
    """UCI Online Retail: a folder of daily CSV files, the single CSV, or the original .xlsx.

    Prices, titles and countries are derived as of each date from the sales until then.
    """
    target = into or folder_of(load_settings("online-retail").events.path)
    _print_import(import_online_retail(source, resolve(target)), as_json)


@importers.command("sequences")
def sequences(
    source: Source,
    into: Into = None,
    last_date: Annotated[
        str, typer.Option("--last-date", help="The date of every user's last item.")
    ] = LAST_DATE.isoformat(),
    attributes: Annotated[
        Path | None,
        typer.Option("--attributes", help='What is known of the items: a JSON object {"item": [12, 53], …}.'),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Lines of `user item item …`, oldest first, aligned at their ends.

    A user's last item falls on the last date, the one before on the date before, and so on: the run
    for the day before the last date is judged on everybody's last item (leave one out).
    """
    target = into or folder_of(load_settings("sequences").events.path)
    _print_import(import_sequences(source, resolve(target), as_date(last_date), attributes), as_json)


def folder_of(events_path: str) -> str:
    """The folder that holds `events`, `items` and `users`, given the first."""
    return resolve(events_path).rsplit("/", 1)[0]


def _yesterday() -> date:
    from datetime import UTC, datetime

    return datetime.now(UTC).date() - timedelta(days=1)


def _print_report(report: BaseModel, as_json: bool) -> None:
    values = report.model_dump(mode="json")
    if as_json:
        print_json(values)
    else:
        print_table("generated", ["what", "value"], [[name, str(value)] for name, value in values.items()])


def _print_import(report: ImportReport, as_json: bool) -> None:
    if as_json:
        print_json(report.model_dump(mode="json"))
        return
    rows = [["read", report.read, None], ["kept", report.kept, None]]
    rows += [[f"left out: {reason}", count, report.faults.get(reason)] for reason, count in report.left_out.items()]
    print_table(f"{report.importer}: {report.unit} of {report.source}", ["", report.unit, "with this fault"], rows)
    output.print(
        f"{report.events:,} events, {report.users:,} users, {report.items:,} items on {len(report.dates)} days "
        f"({report.dates[0]} to {report.dates[-1]}), written to {report.into}"
    )
    for note in report.notes:
        output.print(note, style="dim")
