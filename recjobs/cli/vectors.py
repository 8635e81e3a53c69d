"""`recjobs vectors`: vectors of users and items for others to use."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from recjobs.cli.options import DEFAULT_CONFIG, AsJson, Config, Overrides, as_date, settings_of
from recjobs.cli.printing import output, print_json, progress
from recjobs.exports.vectors import export_vectors, find_vectors
from recjobs.settings import resolve


class Kind(StrEnum):
    """Whose vectors."""

    user = "user"
    item = "item"


def vectors(
    kind: Annotated[Kind, typer.Option("--kind", help="Whose vectors.")],
    date: Annotated[str, typer.Option("--date", help="The data date, YYYY-MM-DD.")],
    into: Annotated[
        str | None,
        typer.Option("--into", help="Copy them below this folder or gs:// prefix. `recjobs forget` does not reach it."),
    ] = None,
    run: Annotated[
        str | None,
        typer.Option("--run", help="Whose: a run of retrieve/search, or of lists as `recjobs versions` names them."),
    ] = None,
    config: Config = DEFAULT_CONFIG,
    overrides: Overrides = None,
    as_json: AsJson = False,
) -> None:
    """The Parquet files with the vectors of users or items of DATE: those behind its published lists.

    Of a date without published lists, those of its newest finished search. Which run it is, is told on stderr.

    With --into they are copied to kind=…/ds=…/ there, with columns id, vector and run; manifest.json beside them is
    written last and names the folder to read.
    """
    found = find_vectors(settings_of(config, overrides), kind.value, as_date(date), run)
    manifest = export_vectors(found, resolve(into)) if into else None
    files = [file.uri for file in found.files]
    if as_json:
        told = {"kind": kind.value, "ds": date, "run": found.run, "plan": found.plan, "published": found.published}
        print_json({**told, "files": files, "exported": manifest})
        return
    progress.print(str(found), style="dim", soft_wrap=True, highlight=False)
    for line in [manifest] if manifest else files:
        output.print(line, soft_wrap=True, highlight=False)
