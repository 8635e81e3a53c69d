"""The finished night that is asked about, and the user's and the item's rows in it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from difflib import get_close_matches

import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from recjobs import columns, storage
from recjobs.errors import MissingInputError
from recjobs.flow import STAGES
from recjobs.manifest import Inputs, Manifest, load
from recjobs.plan import Plan, planned_dates, plans_of
from recjobs.settings import Settings
from recjobs.shards import shard_of
from recjobs.stages import manifest_of

COMPOSE, SEARCH, SCORE, EXTRACT, RANKER = "compose", "retrieve/search", "rank/score", "extract", "rank/train"
"""Names of the results that answers are read from."""


@dataclass(frozen=True)
class Night:
    """One finished run of `compose`: settings as they were planned, and the results it was made from."""

    settings: Settings
    manifests: Mapping[str, Manifest]
    """`compose` itself, what it read, and the ranker."""

    @property
    def ds(self) -> date:
        """The data date."""
        return self.manifests[COMPOSE].ds

    @property
    def run(self) -> str:
        """The name of compose's run."""
        return self.manifests[COMPOSE].run

    @property
    def inputs(self) -> Inputs:
        """What `compose` read."""
        read = {name: self.manifests[name] for name in STAGES[COMPOSE].inputs}
        return Inputs(self.ds, self.manifests[COMPOSE].cutoffs, read)

    @property
    def compose_settings(self) -> Settings:
        """The settings that `compose` saw."""
        return self.settings.view(STAGES[COMPOSE].sections)


def find_night(settings: Settings, ds: date | None, run: str | None) -> Night:
    """The newest plan of `ds` (by default of the newest date) with finished lists, of compose's run `run` if given.

    Raises:
        MissingInputError: there is none; the message has the dates, or the runs of the date, that there are.
    """
    dates = planned_dates(settings)
    wanted = [ds] if ds else list(reversed(dates))
    runs: list[str] = []
    for day in wanted:
        for plan in reversed(plans_of(settings, day)):
            composed = manifest_of(plan, COMPOSE)
            if composed is not None and (run is None or composed.run.startswith(run)):
                return _night(plan, composed)
            runs += [f"{composed.run} ({day})"] if composed is not None else []
    raise MissingInputError(_nothing_there(settings, ds, run, runs, dates), ds=str(ds), run=run)


def _nothing_there(settings: Settings, ds: date | None, run: str | None, runs: list[str], dates: list[date]) -> str:
    when = f" of {ds}" if ds else ""
    if run is not None and runs:
        return f"{settings.dataset}: no finished lists{when} of run {run!r}. There are: {', '.join(runs)}."
    known = f"There are plans of {', '.join(map(str, dates[-5:]))}. " if dates else ""
    return (
        f"{settings.dataset}: no finished lists{when} in {settings.artefacts}. {known}"
        f"`recjobs run --date {ds or 'DATE'}` makes some; `recjobs status` says how far each date got."
    )


def _night(plan: Plan, composed: Manifest) -> Night:
    uris = {**plan.steps[COMPOSE].inputs, RANKER: plan.steps[SCORE].inputs[RANKER]}
    return Night(plan.stage_settings(), {COMPOSE: composed, **{name: load(uri) for name, uri in uris.items()}})


def part_of(night: Night, user: str) -> str:
    """The name of the shard's file that holds the user."""
    shards = len(night.manifests[EXTRACT].parts("users"))
    return columns.part_name(int(shard_of(pa.array([user]), shards)[0]))


def rows_of_user(uri: str, user: str, names: Iterable[str] | None = None) -> pa.Table:
    """The rows of `user` in the Parquet file at `uri` (one or none), its ids as plain strings."""
    with storage.reading(uri) as stream:
        table = pq.read_table(stream, columns=list(names) if names else None)
    place = table.column_names.index(columns.USER)
    ids = table.column(columns.USER).cast(pa.string())
    return table.set_column(place, columns.USER, ids).filter(pc.equal(ids, user))


def require_user(night: Night, user: str) -> pa.Table:
    """The user's state.

    Raises:
        MissingInputError: the night knows no such user.
    """
    uri = night.manifests[EXTRACT].uri("users", part_of(night, user))
    state = rows_of_user(uri, user)
    if not state.num_rows:
        raise MissingInputError(
            f"no user {user!r} on {night.ds}: neither the user snapshot nor any event until "
            f"{night.manifests[EXTRACT].cutoffs.history_until} has that id. Look at its spelling and case, or ask "
            "about a later date with --date; the app shows unknown users their segment's list.",
            user=user,
        )
    return state


def require_item(night: Night, item: str) -> pl.DataFrame:
    """The item's state.

    Raises:
        MissingInputError: the night knows no such item.
    """
    with storage.reading(night.manifests[EXTRACT].uri("items.parquet")) as stream:
        items = pl.read_parquet(stream)
    found = items.filter(pl.col(columns.ITEM).cast(pl.String) == item)
    if found.is_empty():
        near = get_close_matches(item, items[columns.ITEM].cast(pl.String).to_list(), n=3, cutoff=0.7)
        hint = f" Did you mean {' or '.join(near)}?" if near else ""
        raise MissingInputError(
            f"no item {item!r} on {night.ds}: neither the item snapshot nor any event has that id.{hint} If it is "
            "newer, ask about a later date with --date; if it should be there, look at the quarantine of extract.",
            item=item,
        )
    return found
