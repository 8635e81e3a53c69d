"""Plays the app for one day of the generated marketplace: visitors see their published lists and act on them.

A visitor looks at the first `shown` items of their list from the top, each place with less attention than
the one above (a cascade of constant chance to go on: Craswell et al. 2008, "An experimental comparison of
click position-bias models"), and clicks by true preference (`marketplace/preference.py`). Beside that the
visitor does what they would have done without a list.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import BaseModel, ConfigDict

from recjobs import storage
from recjobs.errors import SettingsError
from recjobs.settings import Settings, resolve
from recjobs.sources.marketplace.catalogue import ITEM_PREFIX, catalogue_of
from recjobs.sources.marketplace.choices import segment_of
from recjobs.sources.marketplace.config import MarketplaceConfig
from recjobs.sources.marketplace.draws import Floats
from recjobs.sources.marketplace.funnel import cart_chances, purchase_chances
from recjobs.sources.marketplace.generation import Folders, GeneratedDay, made_day, write_snapshots
from recjobs.sources.marketplace.happenings import HOME, Happenings, funnelled, visit_starts
from recjobs.sources.marketplace.population import population_of
from recjobs.sources.marketplace.preference import preference_of
from recjobs.sources.marketplace.visits import Views, visitors_of
from recjobs.sources.marketplace.world import day_number, keys_of, rows_of

logger = logging.getLogger(__name__)

Integers = npt.NDArray[np.int64]

GOES_ON = 0.9
"""Chance that who has looked at a place of the list looks at the next."""
MOST_CLICKS, HALF_CLICKS_AT = 0.4, 0.03
"""Click chance of a perfect item, and the preference at which it is half of that."""
SECONDS_BETWEEN_CLICKS = 20.0
_APP_STREAM = 5


class TrafficReport(BaseModel):
    """What happened on a played day."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    day: date
    uri: str
    """The file with the day's events."""
    played: bool
    """False when the day was there already: nothing was changed."""
    visitors: int = 0
    visitors_with_list: int = 0
    shown: int = 0
    """Places of lists that visitors had before them."""
    gone: int = 0
    """Places whose item was not on sale that day, or no item of the marketplace."""
    clicks: int = 0
    """Views from a list; carts and purchases from lists follow."""
    carts: int = 0
    purchases: int = 0
    by_type: dict[str, int] = {}
    """All good events written, from lists or not."""
    dirty: dict[str, int] = {}
    seconds: float = 0.0


@dataclass(frozen=True)
class Impressions:
    """What visitors had before them, a row for each place of a list, by visitor and place."""

    visitors: Integers
    """Population rows of all who came, ascending."""
    visitor: Integers
    """Position in `visitors`."""
    place: Integers
    """From 0."""
    item: Integers
    """Catalogue row."""
    gone: int


def play_day(settings: Settings, day: date, lists: Iterable[tuple[str, Sequence[str]]]) -> TrafficReport:
    """Writes the events of `day`, with those that `lists` (user id, item ids) bring, and the day's snapshots.

    A day whose events are there is left alone; of two calls at once one wins. The snapshots come
    first, the events appear whole and last. The same lists give the same events. `lists` is read once.

    Raises:
        SettingsError: the settings are of no generated marketplace.
    """
    started = time.perf_counter()
    config, folders = _marketplace(settings)
    uri = folders.events_uri(day)
    if storage.exists(uri):
        logger.info("%s is there already; nothing played", uri)
        return TrafficReport(day=day, uri=uri, played=False)
    seen = impressions(config, day_number(day), lists)
    views = clicked(config, day_number(day), seen)
    made = made_day(config, day, in_time(config, day_number(day), views))
    write_snapshots(config, folders, day)
    if not storage.create_once(uri, _parquet(made.table)):
        return TrafficReport(day=day, uri=uri, played=False)
    report = _report(day, uri, seen, views, made, time.perf_counter() - started)
    logger.info(
        "%s played: %d visitors, %d clicks on lists, %.1f s", day, report.visitors, report.clicks, report.seconds
    )
    return report


def _marketplace(settings: Settings) -> tuple[MarketplaceConfig, Folders]:
    if settings.marketplace is None or settings.items is None or settings.users is None:
        raise SettingsError(
            f"dataset {settings.dataset!r} is no generated marketplace: it has no [marketplace], [items] and "
            "[users] section. Play traffic with the config `marketplace`.",
            dataset=settings.dataset,
        )
    return settings.marketplace, Folders(
        events=resolve(settings.events.path), items=resolve(settings.items.path), users=resolve(settings.users.path)
    )


def _parquet(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd")
    return bytes(sink.getvalue())


def _report(day: date, uri: str, seen: Impressions, views: Views, made: GeneratedDay, seconds: float) -> TrafficReport:
    return TrafficReport(
        day=day,
        uri=uri,
        played=True,
        visitors=len(seen.visitors),
        visitors_with_list=len(np.unique(seen.visitor)),
        shown=len(seen.visitor),
        gone=seen.gone,
        clicks=len(views.user),
        carts=int(views.carted.sum()),
        purchases=int(views.bought.sum()),
        by_type=made.by_type,
        dirty=made.dirty,
        seconds=seconds,
    )


def impressions(config: MarketplaceConfig, day: int, lists: Iterable[tuple[str, Sequence[str]]]) -> Impressions:
    """What the visitors of `day` have before them; a list of somebody who doesn't come is passed over."""
    population, items, visitors = population_of(config, day), catalogue_of(config, day), visitors_of(config, day)
    position = {user: at for at, user in enumerate(population.ids().take(pa.array(visitors)).to_pylist())}
    shown = [(position[user], ids[: config.shown]) for user, ids in lists if user in position]
    shown.sort(key=lambda entry: entry[0])
    lengths = np.array([len(ids) for _, ids in shown], np.int64)
    visitor = np.repeat(np.array([at for at, _ in shown], np.int64), lengths)
    place = np.arange(len(visitor)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    item = rows_of(items.keys, keys_of(ITEM_PREFIX, [item for _, ids in shown for item in ids]))
    there = item >= 0
    there[there] &= items.available[item[there]]
    return Impressions(visitors, visitor[there], place[there], item[there], int((~there).sum()))


def clicked(config: MarketplaceConfig, day: int, seen: Impressions) -> Views:
    """The views, carts and purchases that the impressions bring."""
    random = np.random.default_rng([config.seed, _APP_STREAM, day])
    look, cart, buy = random.random((3, len(seen.visitor)))
    user = seen.visitors[seen.visitor]
    chosen = look < click_chances(preference_of(config, day, user, seen.item), seen.place)
    population, items = population_of(config, day), catalogue_of(config, day)
    segment = segment_of(population, user, items.category[seen.item])
    first_time = np.zeros(len(user), bool)
    carted = cart < cart_chances(config, items, segment, seen.item, first_time)
    bought = carted & (buy < purchase_chances(items, seen.item))
    return Views(seen.visitors, seen.visitor, user, seen.item, first_time, carted, bought).select(chosen)


def click_chances(preference: Floats, place: Integers) -> Floats:
    """The chance of a click on an item of that preference at that place, from 0."""
    attention: Floats = GOES_ON ** place.astype(np.float64)
    return attention * MOST_CLICKS * preference / (preference + HALF_CLICKS_AT)


def in_time(config: MarketplaceConfig, day: int, views: Views) -> Happenings:
    """`views` as events of the day: clicks in the order of the list, from the beginning of the visit."""
    random = np.random.default_rng([config.seed, _APP_STREAM, day, 1])
    starts = visit_starts(config, day, views.visitors)
    nth = np.arange(len(views.visitor)) - np.searchsorted(views.visitor, views.visitor)
    view_time = starts[views.visitor] + (nth + 1) * SECONDS_BETWEEN_CLICKS
    return funnelled(views, view_time, random.uniform(3, 15, (2, len(views.visitor))), HOME)
