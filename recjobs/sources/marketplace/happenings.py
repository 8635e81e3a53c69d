"""What happens on a day, as a table of events in the input contract."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

from recjobs import columns as c
from recjobs.sources.marketplace import draws
from recjobs.sources.marketplace.catalogue import catalogue_of
from recjobs.sources.marketplace.config import MarketplaceConfig
from recjobs.sources.marketplace.draws import Floats
from recjobs.sources.marketplace.population import population_of
from recjobs.sources.marketplace.visits import Views, views_of
from recjobs.sources.marketplace.words import COUNTRIES, DEVICE_WEIGHTS, DEVICES, LANGUAGES
from recjobs.sources.marketplace.world import CONSUMABLE, MICROS_PER_DAY, day_date, midnights

Integers = npt.NDArray[np.int64]

KINDS = ("view", "cart", "purchase")
VIEW, CART, PURCHASE = range(3)
BROWSE, HOME = 0, 1
SURFACES = ("browse", "home")
"""Where it happened: the shop's own pages, or the list on the home page."""

SECOND = 1_000_000
LAST_MICRO = MICROS_PER_DAY - 1
EVENING, NOON = (20.0, 1.8), (12.5, 2.5)
"""Mean and spread of the hours at which visits begin."""
EVENING_SHARE = 0.6
FIRST_HOUR, LAST_HOUR = 5.0, 23.0
SECONDS_BETWEEN_VIEWS = 40.0
OTHER_DEVICE = 0.2
MOST_PIECES = 3
_TIMES_STREAM = 2

EVENTS_SCHEMA = pa.schema(
    [
        (c.EVENT_ID, pa.string()),
        (c.USER, pa.string()),
        (c.ITEM, pa.string()),
        (c.EVENT_TYPE, pa.string()),
        (c.TIMESTAMP, c.TIME_TYPE),
        (c.VALUE, pa.float64()),
        (c.QUANTITY, pa.float64()),
        (c.COUNTRY, pa.string()),
        (c.LANGUAGE, pa.string()),
        (c.DEVICE, pa.string()),
        (c.SESSION, pa.string()),
        (c.SURFACE, pa.string()),
    ]
)


@dataclass(frozen=True)
class Happenings:
    """Events of one day, a row each."""

    user: Integers
    """Population row."""
    item: Integers
    """Catalogue row."""
    kind: Integers
    """Position in `KINDS`."""
    time: Integers
    """Microseconds since the day began; negative for one of the day before that arrives late."""
    surface: Integers
    """Position in `SURFACES`."""

    def __len__(self) -> int:
        return len(self.user)

    def take(self, rows: Integers) -> Happenings:
        """The events at `rows`, in that order."""
        return Happenings(*(getattr(self, field.name)[rows] for field in fields(self)))


def together(*parts: Happenings) -> Happenings:
    """All events of `parts` by time; ties by user, kind, item."""
    joined = Happenings(*(np.concatenate([getattr(p, field.name) for p in parts]) for field in fields(Happenings)))
    return joined.take(np.lexsort((joined.item, joined.kind, joined.user, joined.time)))


def organic(config: MarketplaceConfig, day: int) -> Happenings:
    """What the visitors of `day` do on their own."""
    views = views_of(config, day)
    random = np.random.default_rng([config.seed, _TIMES_STREAM, day])
    starts = visit_starts(config, day, views.visitors)
    gaps = random.exponential(SECONDS_BETWEEN_VIEWS, len(views.user)) + 1
    pauses = random.uniform(3, 30, (2, len(views.user)))
    view_time = starts[views.visitor] + _since_first(gaps, views.visitor)
    return _delayed(config, day, funnelled(views, view_time, pauses, BROWSE))


def visit_starts(config: MarketplaceConfig, day: int, visitors: Integers) -> Floats:
    """Seconds since midnight at which the visits of the users at these population rows begin."""
    keys = population_of(config, day).keys[visitors]
    evening = draws.uniform(config.seed, "visit in the evening", keys, day) < EVENING_SHARE
    spread = draws.normal(config.seed, "visit hour", keys, day)
    hour = np.where(evening, EVENING[0] + EVENING[1] * spread, NOON[0] + NOON[1] * spread)
    return np.clip(hour, FIRST_HOUR, LAST_HOUR) * 3600 + 60 * draws.uniform(config.seed, "visit minute", keys, day)


def _since_first(gaps: Floats, visitor: Integers) -> Floats:
    """Seconds since a visit began, by view: running sums that start anew with each visitor."""
    upto = np.cumsum(gaps)
    first = np.flatnonzero(np.diff(visitor, prepend=-1))
    return upto - np.repeat(upto[first] - gaps[first], np.diff(first, append=len(visitor)))


def funnelled(views: Views, view_time: Floats, pauses: Floats, surface: int) -> Happenings:
    """The views at `view_time` (seconds) with the carts and purchases that follow them after `pauses`."""
    cart_time = view_time + pauses[0]
    times = (view_time, cart_time, cart_time + pauses[1])
    rows = (np.arange(len(views.user)), np.flatnonzero(views.carted), np.flatnonzero(views.bought))
    at = np.concatenate(rows)
    seconds = np.concatenate([time[row] for time, row in zip(times, rows, strict=True)])
    return Happenings(
        user=views.user[at],
        item=views.item[at],
        kind=np.repeat(np.arange(len(KINDS)), [len(row) for row in rows]),
        time=np.minimum((seconds * SECOND).astype(np.int64), LAST_MICRO),
        surface=np.full(len(at), surface),
    )


def _delayed(config: MarketplaceConfig, day: int, events: Happenings) -> Happenings:
    """`events` with a share of the visits made the day before: phones that were offline."""
    users, items = population_of(config, day), catalogue_of(config, day)
    late = draws.uniform(config.seed, "late", users.keys, day)[events.user] < config.late_share
    there = np.maximum(users.born[events.user], items.born[events.item]) < day
    return replace(events, time=events.time - np.where(late & there, MICROS_PER_DAY, 0))


def events_table(config: MarketplaceConfig, day: int, events: Happenings) -> pa.Table:
    """`events` in the input contract, in their order; `event_id` is the date and the row."""
    users, items = population_of(config, day), catalogue_of(config, day)
    columns = [
        _event_ids(day, len(events)),
        users.ids().take(pa.array(events.user)),
        items.ids().take(pa.array(events.item)),
        _named(KINDS, events.kind),
        _times(day, events.time),
        pa.array(items.price[events.item], mask=events.kind == VIEW),
        pa.array(_pieces(config, day, events), mask=events.kind != PURCHASE),
        _named(COUNTRIES, users.country[events.user]),
        _named(LANGUAGES, users.language[events.user]),
        _named(DEVICES, _devices(config, day, events.user)),
        _sessions(day, users.keys[events.user]),
        _named(SURFACES, events.surface),
    ]
    return pa.table(columns, schema=EVENTS_SCHEMA)


def _named(names: tuple[str, ...], positions: Integers) -> pa.Array:
    return pa.array(names).take(pa.array(positions))


def _times(day: int, time: Integers) -> pa.Array:
    start = midnights(np.array([day])).cast(pa.int64()).to_numpy()[0]
    return pa.array(start + time).cast(c.TIME_TYPE)


def _pieces(config: MarketplaceConfig, day: int, events: Happenings) -> Floats:
    """How many pieces are bought; of a consumable, up to three."""
    items, users = catalogue_of(config, day), population_of(config, day)
    drawn = draws.integer(config.seed, "pieces", MOST_PIECES, users.keys[events.user], items.keys[events.item], day)
    return np.where(CONSUMABLE[items.category[events.item]], 1.0 + drawn, 1.0)


def _devices(config: MarketplaceConfig, day: int, users: Integers) -> Integers:
    """The device of each user's visit: mostly their own, sometimes another."""
    population = population_of(config, day)
    keys = population.keys[users]
    other = draws.choice(config.seed, "other device", DEVICE_WEIGHTS, keys, day)
    return np.where(draws.uniform(config.seed, "device", keys, day) < OTHER_DEVICE, other, population.device[users])


def _event_ids(day: int, count: int) -> pa.Array:
    return _numbered(f"e{day_date(day):%Y%m%d}-", np.arange(count))


def _sessions(day: int, keys: Integers) -> pa.Array:
    return _numbered(f"s{day_date(day):%Y%m%d}-", keys)


def _numbered(prefix: str, numbers: Integers) -> pa.Array:
    return pl.select(pl.lit(prefix) + pl.Series(numbers).cast(pl.String)).to_series().to_arrow().cast(pa.string())
