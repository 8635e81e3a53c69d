"""Puts the commands together. Exit codes: 0 done, 65 give up, 75 try again later, 78 a setting is wrong."""

from __future__ import annotations

import sys

import typer

from recjobs import __version__
from recjobs.cli import data, database, doctor, explain, forget, ideas, judge, lists, runs, vectors
from recjobs.cli.printing import log_progress, progress
from recjobs.errors import RecjobsError

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="The nightly batch recommendation job: from events to lists in Postgres.\n\n"
    "Start with `recjobs doctor`, which checks config, sources, storage and database and says what to fix.",
)
_RUN, _DATA, _LISTS, _HEALTH = "Run", "Input", "Lists", "Health"

app.command(rich_help_panel=_RUN)(runs.run)
app.command(rich_help_panel=_RUN)(runs.backfill)
app.command(rich_help_panel=_RUN)(runs.status)
app.command(rich_help_panel=_RUN)(judge.evaluate)
app.command(rich_help_panel=_DATA)(data.generate)
app.add_typer(data.importers, name="import", rich_help_panel=_DATA)
app.command(rich_help_panel=_LISTS)(lists.show)
app.command(rich_help_panel=_LISTS)(lists.similar)
app.command(rich_help_panel=_LISTS)(explain.explain)
app.command(rich_help_panel=_LISTS)(ideas.ideas)
app.command(rich_help_panel=_LISTS)(vectors.vectors)
app.command(rich_help_panel=_LISTS)(lists.versions)
app.command(rich_help_panel=_LISTS)(lists.promote)
app.command(rich_help_panel=_LISTS)(lists.rollback)
app.command(rich_help_panel=_LISTS)(forget.forget)
app.command(rich_help_panel=_LISTS)(lists.prune)
app.add_typer(database.commands, name="db", rich_help_panel=_HEALTH)
app.command(rich_help_panel=_HEALTH)(doctor.doctor)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"recjobs {__version__}")
        raise typer.Exit


@app.callback()
def common(
    version: bool = typer.Option(False, "--version", callback=_print_version, is_eager=True, help="Print the version."),  # noqa: ARG001
) -> None:
    """Common to all commands."""
    log_progress()


def main() -> None:
    """Runs the command line; an error of ours is one clear message and its family's exit code."""
    try:
        app()
    except RecjobsError as error:
        progress.print(f"[bold red]{type(error).__name__}[/]:", end=" ")
        progress.print(str(error), markup=False, highlight=False)
        sys.exit(error.exit_code)
