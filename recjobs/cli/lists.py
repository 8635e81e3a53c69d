"""`recjobs show`, `similar`, `versions`, `promote`, `rollback`, `prune`: the published lists."""

from __future__ import annotations

import getpass
from collections.abc import Iterable
from dataclasses import asdict
from typing import Annotated, Any

import typer

from recjobs.cli.options import DEFAULT_CONFIG, AsJson, Config, Overrides, Surface, Why, as_date, settings_of
from recjobs.cli.printing import output, print_json, print_table
from recjobs.errors import PublishError, SettingsError
from recjobs.publish import inspection, operations, reading
from recjobs.publish.generations import Generation
from recjobs.publish.promotion import Switch
from recjobs.settings import Settings
from recjobs.titles import ItemFacts, live_items

Count = Annotated[int, typer.Option("-n", min=1, max=1000, help="How many items.")]
Seq = Annotated[
    int | None, typer.Option("--seq", help="The generation's number within its date; by default the highest.")
]


def show(
    user: Annotated[str, typer.Argument(help="The user's id.")],
    n: Count = 20,
    surface: Surface = "home",
    segment: Annotated[str | None, typer.Option("--segment", help="For users without a list: country=FR.")] = None,
    config: Config = DEFAULT_CONFIG,
    overrides: Overrides = None,
    as_json: AsJson = False,
) -> None:
    """The list the app gets for USER now, with titles and reasons.

    A user without a list gets the segment's, else the global one, as in the app.
    """
    settings = settings_of(config, overrides)
    if surface not in settings.compose.surfaces:
        known = ", ".join(settings.compose.surfaces)
        raise SettingsError(f"--surface {surface}: no such surface in {config}. There are: {known}.", surface=surface)
    rows = reading.show(settings, user, surface, n, segment)
    if not rows and not as_json and reading.live(settings) is None:
        output.print(f"schema {settings.database.schema_name}: nothing is live yet. `recjobs run` publishes lists.")
        raise typer.Exit(1)
    _print_items(settings, f"{user} on {surface}", rows, as_json)


def similar(
    item: Annotated[str, typer.Argument(help="The item's id.")],
    n: Count = 20,
    config: Config = DEFAULT_CONFIG,
    overrides: Overrides = None,
    as_json: AsJson = False,
) -> None:
    """The items most similar to ITEM, as the app gets them."""
    settings = settings_of(config, overrides)
    rows = reading.similar(settings, item, n)
    if not rows and not as_json:
        output.print(f"{item}: no similar items; the live generation does not know it.", markup=False)
        raise typer.Exit(1)
    _print_items(settings, f"similar to {item}", rows, as_json)


def versions(config: Config = DEFAULT_CONFIG, overrides: Overrides = None, as_json: AsJson = False) -> None:
    """Every generation there ever was, newest first: which is live, which can be gone back to."""
    settings = settings_of(config, overrides)
    generations = reading.versions(settings)
    if as_json:
        print_json([asdict(generation) for generation in generations])
        return
    rows = [
        [
            str(generation.ds),
            generation.seq,
            f"[green]{generation.state}[/]" if generation.state == "live" else generation.state,
            sum(count for table, count in generation.counts.items() if table.startswith("user_lists")),
            _time(generation.last_live_at),
            "yes" if generation.stored else "no",
            generation.run,
        ]
        for generation in generations
    ]
    header = ["date", "seq", "state", "user lists", "live since", "stored", "run"]
    print_table(f"{settings.dataset}, schema {settings.database.schema_name}", header, rows)


def promote(
    date_: Annotated[str, typer.Argument(metavar="DATE", help="The generation's data date.")],
    why: Why,
    seq: Seq = None,
    force: Annotated[bool, typer.Option("--force", help="Even if it is older than what was live; audited.")] = False,
    config: Config = DEFAULT_CONFIG,
    overrides: Overrides = None,
    as_json: AsJson = False,
) -> None:
    """Make a stored generation live."""
    settings = settings_of(config, overrides)
    _print_switch(operations.promote(settings, as_date(date_), seq, force, who=getpass.getuser(), why=why), as_json)


def rollback(
    why: Why,
    to: Annotated[str | None, typer.Option("--to", help="A date to go back to; the predecessor by default.")] = None,
    seq: Seq = None,
    config: Config = DEFAULT_CONFIG,
    overrides: Overrides = None,
    as_json: AsJson = False,
) -> None:
    """Go back to the generation that was live before, or to an older one. Nothing is recomputed.

    It stays live until a later date than any so far is published.
    """
    settings = settings_of(config, overrides)
    target = as_date(to) if to else None
    if seq is not None and target is None:
        raise PublishError("--seq needs --to: the number is one within a date.", seq=seq)
    _print_switch(operations.rollback(settings, target, seq, who=getpass.getuser(), why=why), as_json)


def prune(
    keep: Annotated[
        int | None,
        typer.Option("--keep", min=2, help="How many of the newest to keep; publish.keep_generations by default."),
    ] = None,
    config: Config = DEFAULT_CONFIG,
    overrides: Overrides = None,
    as_json: AsJson = False,
) -> None:
    """Drop the lists of old generations. Live and the one that rollback goes to always stay.

    No reader waits for it. Lists that somebody still reads are marked, and dropped by the next night or prune.
    """
    settings = settings_of(config, overrides)
    dropped = operations.prune(settings, keep, who=getpass.getuser())
    kept, held_up = inspection.after_pruning(settings, keep)
    if as_json:
        print_json(
            {
                "dropped": [_numbers(generation) for generation in dropped],
                "kept": [{**_numbers(one.generation), "bytes": one.size, "why": one.why} for one in kept],
                "held_up": [{**_numbers(one.generation), "bytes": one.size} for one in held_up],
            }
        )
        return
    for generation in dropped:
        output.print(f"{generation}: lists dropped", markup=False)
    if not dropped:
        output.print("nothing dropped")
    for one in held_up:
        output.print(
            f"{one.generation}: not dropped yet, somebody has been reading for long or is pruning now; nobody can go "
            "back to it, and the next night or `recjobs prune` drops it",
            markup=False,
        )
    for one in kept:
        output.print(f"{one.generation}: kept, {', '.join(one.why)}", markup=False)


def _numbers(generation: Generation) -> dict[str, Any]:
    return {"ds": generation.ds, "seq": generation.seq, "state": generation.state}


def _print_items(settings: Settings, title: str, rows: Iterable[reading.Recommendation], as_json: bool) -> None:
    facts = live_items(settings)
    shown = [{**asdict(row), **asdict(facts.get(row.item_id, ItemFacts()))} for row in rows]
    if as_json:
        print_json(shown)
        return
    cells = [
        [row["position"], row["item_id"], row["title"], row["price"], row["score"], row["reason"]] for row in shown
    ]
    print_table(title, ["", "item", "title", "price", "score", "reason"], cells)


def _print_switch(switch: Switch, as_json: bool) -> None:
    if as_json:
        print_json({"changed": switch.changed, "message": switch.message, "generation": asdict(switch.generation)})
    else:
        output.print(switch.message, markup=False)


def _time(moment: Any) -> str | None:
    return f"{moment:%Y-%m-%d %H:%M} UTC" if moment else None
