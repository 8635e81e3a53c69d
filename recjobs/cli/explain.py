"""`recjobs explain`: why an item is on a user's list, or where it fell out."""

from __future__ import annotations

import os
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from recjobs.cli.options import DEFAULT_CONFIG, AsJson, Config, Overrides, Surface, as_date, settings_of
from recjobs.cli.printing import output, print_json, print_table

if TYPE_CHECKING:
    from recjobs.explain.answer import Explanation
    from recjobs.explain.ranking import Ranking
    from recjobs.explain.replay import Replay
    from recjobs.explain.retrieval import Retrieval

Date = Annotated[
    str | None, typer.Option("--date", "-d", "--ds", help="The lists' data date; the newest with lists by default.")
]


def explain(
    user: Annotated[str, typer.Argument(help="The user's id.")],
    item: Annotated[str, typer.Argument(help="The item's id.")],
    date_: Date = None,
    surface: Surface = "home",
    run: Annotated[
        str | None, typer.Option("--run", help="compose's run, or how its name begins; the newest by default.")
    ] = None,
    features: Annotated[
        bool, typer.Option("--features/--no-features", help="Say which features mattered; loads the ranker.")
    ] = True,
    config: Config = DEFAULT_CONFIG,
    overrides: Overrides = None,
    as_json: AsJson = False,
) -> None:
    """Why ITEM is at its place on USER's list; if it is not on it, the step where it fell out.

    Reads what the night stored and changes nothing. The steps of compose are run once more for this user, by the same
    code and the settings of that run.
    """
    # TensorFlow calls it an error that there is no GPU.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    from recjobs.explain.answer import explain as explained

    ds = as_date(date_) if date_ else None
    found = explained(settings_of(config, overrides), user, item, ds=ds, surface=surface, run=run, effects=features)
    if as_json:
        print_json(asdict(found))
        return
    _print(found)


def _print(found: Explanation) -> None:
    about = f"{found.title or found.item}" + (f" ({found.category})" if found.category else "")
    output.print(f"{found.item}: {about}, {found.item_events:,} events", markup=False, highlight=False)
    segments = ", ".join(found.replay.segments)
    output.print(
        f"{found.user}: {found.regime}, {found.user_events:,} events, in {segments}", markup=False, highlight=False
    )
    for met in found.met:
        output.print(f"  {met.event} of it {met.count} times, last on {met.last}", markup=False, highlight=False)
    output.print(f"lists of {found.ds} on {found.surface}, run {found.run}", markup=False, highlight=False)
    output.print()
    output.print(found.verdict, style="bold", markup=False, highlight=False)
    output.print()
    _print_retrieval(found.retrieval)
    if found.ranking is None:
        output.print("ranker: not asked, as it was no candidate\n")
    else:
        _print_ranking(found.ranking)
    _print_steps(found.replay)


def _print_retrieval(told: Retrieval) -> None:
    exact = "not searched" if told.tower_rank is None else f"place {told.tower_rank:,} of {told.searched:,}"
    place = "not among" if told.rank is None else f"place {told.rank} of"
    filled = ", taken from further down the towers' list to make the number full" if told.filled else ""
    output.print(f"retrieval: {place} {told.candidates} candidates{filled}; exact order of the towers: {exact}")
    if told.sources:
        rows = [[one.source, "yes" if one.proposed else "", one.score, one.rank] for one in told.sources]
        print_table("sources", ["source", "proposed it", "score", "place among candidates"], rows)


def _print_ranking(told: Ranking) -> None:
    output.print(
        f"ranker: place {told.rank} of {told.candidates}, score {told.score:.4f} ({told.blend_weight:.0%} ranker, "
        f"{1 - told.blend_weight:.0%} retrieval), utility {told.utility:.5f}",
    )
    rows: list[list[Any]] = [[head.task, f"{head.probability:.4%}", f"{head.weight:g}"] for head in told.heads]
    print_table("heads", ["task", "probability", "weight"], rows)
    if told.effects:
        first = told.heads[0].task
        cells = [[one.group, f"{one.utility:+.5f}", f"{one.log_odds:+.3f}"] for one in told.effects]
        print_table(
            "what mattered: the change when the group is as usual",
            ["features", "utility", f"log odds of {first}"],
            cells,
        )


def _print_steps(told: Replay) -> None:
    rows = [
        [stage.step, stage.says, stage.before, stage.after, stage.rows_before, stage.rows_after]
        for stage in told.stages
    ]
    print_table("steps of compose", ["step", "what it does", "place", "after", "list", "after"], rows)
    if told.place != told.stored_place:
        stored = "not on it" if told.stored_place is None else f"at place {told.stored_place}"
        output.print(
            f"The list that was written has it {stored}: the code has changed since then.",
            style="yellow",
        )
