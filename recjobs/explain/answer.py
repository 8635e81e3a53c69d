"""The whole answer: who and what, every stage's word, and one sentence that sums it up."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime

import polars as pl
import pyarrow as pa

from recjobs import columns
from recjobs.columns import COLD, WARM
from recjobs.errors import SettingsError
from recjobs.explain.finding import Night, find_night, require_item, require_user
from recjobs.explain.ranking import Ranking, ranking_of
from recjobs.explain.replay import Replay, replay
from recjobs.explain.retrieval import Retrieval, retrieval_of
from recjobs.settings import Settings

CUT = "fill"
"""The step that cuts lists to their length."""


@dataclass(frozen=True)
class Met:
    """What the user did with the item, by event type."""

    event: str
    count: int
    last: date


@dataclass(frozen=True)
class Explanation:
    """Why the item is where it is."""

    user: str
    item: str
    title: str | None
    category: str | None
    ds: date
    run: str
    surface: str
    regime: str
    user_events: int
    item_events: int
    met: tuple[Met, ...]
    retrieval: Retrieval
    ranking: Ranking | None
    replay: Replay
    verdict: str


def explain(
    settings: Settings,
    user: str,
    item: str,
    *,
    ds: date | None = None,
    surface: str = "home",
    run: str | None = None,
    effects: bool = True,
) -> Explanation:
    """Why `item` is, or is not, on `user`'s list of `surface`, from what the night of `ds` stored.

    Raises:
        MissingInputError: no such night, user or item.
        SettingsError: the night made no lists for `surface`.
    """
    return explained(find_night(settings, ds, run), user, item, surface, effects=effects)


def explained(night: Night, user: str, item: str, surface: str, *, effects: bool = True) -> Explanation:
    """`explain` for a night that was found."""
    _require_surface(night, surface)
    state, row = require_user(night, user), require_item(night, item).row(0, named=True)
    index = int(row[columns.ITEM_INDEX])
    retrieval = retrieval_of(night, user, index)
    ranking = ranking_of(night, user, index, effects=effects)
    made = replay(night, user, index, surface)
    met = _met(state, index, {code: name for name, code in night.settings.event_codes().items()})
    return Explanation(
        user=user,
        item=item,
        title=row[columns.TITLE],
        category=row[columns.CATEGORY],
        ds=night.ds,
        run=night.run,
        surface=surface,
        regime=COLD if made.cold else WARM,
        user_events=int(state.column(columns.N_EVENTS)[0].as_py() or 0),
        item_events=int(row[columns.N_EVENTS] or 0),
        met=met,
        retrieval=retrieval,
        ranking=ranking,
        replay=made,
        verdict=_verdict(night, item, row[columns.AVAILABLE], met, retrieval, ranking, made),
    )


def _require_surface(night: Night, surface: str) -> None:
    known = list(night.settings.compose.surfaces)
    if surface not in known:
        raise SettingsError(
            f"--surface {surface}: the night of {night.ds} made no such lists. There are: {', '.join(known)}.",
            surface=surface,
        )


def _met(state: pa.Table, item: int, names: dict[int, str]) -> tuple[Met, ...]:
    pairs = [columns.PAIR_ITEM, columns.PAIR_TYPE, columns.PAIR_COUNT, columns.PAIR_LAST]
    met = pl.DataFrame(pl.from_arrow(state.select(pairs))).explode(pairs).filter(pl.col(columns.PAIR_ITEM) == item)
    return tuple(
        Met(names.get(kind, str(kind)), count, datetime.fromtimestamp(last, UTC).date())
        for _, kind, count, last in met.iter_rows()
    )


def _verdict(
    night: Night,
    item: str,
    available: bool | None,
    met: tuple[Met, ...],
    retrieval: Retrieval,
    ranking: Ranking | None,
    made: Replay,
) -> str:
    if made.place is not None:
        return f"On the list: place {made.place} of {made.length}" + (f", {made.reason!r}." if made.reason else ".")
    if not made.eligible:
        return _ineligible(night, item, available)
    fell = next((stage for stage in made.stages if stage.removed), None)
    if fell is not None and fell.step != CUT:
        past = " ".join(f"It had a {one.event} by this user, last on {one.last}." for one in met if made.barred)
        return f"Fell out in step {fell.step}, from place {fell.before}: {fell.says} {past}".rstrip()
    if fell is not None:
        return _too_low(fell.before or 0, made, ranking)
    place = f"place {retrieval.tower_rank} of {retrieval.searched} in the towers' exact order"
    return (
        f"Not retrieved: it is not among the user's {retrieval.candidates} candidates. It has {place}, and no other "
        "source proposed it."
    )


def _ineligible(night: Night, item: str, available: bool | None) -> str:
    if item in night.settings.compose.exclude_items:
        return "May not be shown: it is named in compose.exclude_items."
    if available is False:
        return f"May not be shown: it was unavailable on {night.ds}, in the item snapshot or by missing from it."
    return "May not be shown: a rule of the surface or of the catalogue excludes it."


def _too_low(place: int, made: Replay, ranking: Ranking | None) -> str:
    scores = f" Its score is {ranking.score:.3f}, the last on the list has {made.lowest:.3f}." if ranking else ""
    return f"Scored too low: it came to place {place} and the list has {made.length}.{scores}"
