"""`recjobs forget`: a user who asked to be forgotten, and its undoing."""

from __future__ import annotations

import getpass
from typing import Annotated

import typer

from recjobs.cli.options import DEFAULT_CONFIG, AsJson, Config, Overrides, settings_of
from recjobs.cli.printing import output, print_json, print_table, progress
from recjobs.forgetting.receipt import Receipt
from recjobs.settings import Settings

_WHY = "asked to be forgotten"


def forget(
    user: Annotated[str, typer.Argument(help="The user's id, as it stands in the sources.")],
    why: Annotated[str | None, typer.Option("--why", help="The reason, kept; don't name the user in it.")] = None,
    who: Annotated[str | None, typer.Option("--who", help="On whose word, kept; by default you.")] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    undo: Annotated[bool, typer.Option("--undo", help="Let the next run bring USER back from the sources.")] = False,
    config: Config = DEFAULT_CONFIG,
    overrides: Overrides = None,
    as_json: AsJson = False,
) -> None:
    """Remove USER from lists, states, candidates, training data and reports, for good, and keep USER out.

    A receipt says what was removed where, and what can't be reached: your sources, for one. Whatever is run
    afterwards, for whatever date, leaves USER out. Safe beside runs, and again: the same command finishes what
    was interrupted. Exit code 0 also where nothing was found: USER is kept out from now on.
    """
    settings = settings_of(config, overrides)
    author = who or getpass.getuser()
    if undo:
        _remember(settings, user, author, why, as_json)
        return
    if not yes:
        typer.confirm(
            f"Remove {user} from everything made of {settings.dataset} in {settings.artefacts} and from the database? "
            "What is removed can only be made anew, from the sources",
            abort=True,
            err=True,
        )
    from recjobs.forgetting import operation

    done = operation.forget(settings, user, who=author, why=why or _WHY)
    if as_json:
        print_json({**done.receipt.model_dump(mode="json"), "receipt": done.uri})
    else:
        _print(done.receipt, done.uri)


def _remember(settings: Settings, user: str, who: str, why: str | None, as_json: bool) -> None:
    from recjobs.forgetting import operation

    changed = operation.remember(settings, user, who=who, why=why or "forgotten by mistake")
    message = (
        f"{user} is not kept out any more: the next run brings back what the sources hold."
        if changed
        else f"{user} was not forgotten; nothing changed."
    )
    if as_json:
        print_json({"changed": changed, "message": message})
    else:
        output.print(message, markup=False)


def _print(receipt: Receipt, uri: str) -> None:
    rows = [[one.where, one.what, one.removed] for one in receipt.removed]
    print_table("removed", ["where", "what", "rows"], rows)
    if not rows:
        output.print("Nothing was found. The user is kept out from now on all the same.")
    for attempt in receipt.running:
        output.print(f"is being written now, and will drop the user before it ends: {attempt}", markup=False)
    progress.print("not reached:", style="bold")
    for place in receipt.not_reached:
        progress.print(f"  {place}", markup=False)
    output.print(f"{receipt.total:,} rows removed; receipt: {uri}", markup=False)
