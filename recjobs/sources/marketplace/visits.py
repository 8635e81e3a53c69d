"""Who comes on a day and what they look at: new items, and items they come back to.

What a user comes back to follows from their new views of one and two days before that they did not
buy, and from the consumables among those of seven days before that they bought. New views depend on the
day alone, so any day's views can be computed from the new views of four days.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from recjobs.sources.marketplace import draws
from recjobs.sources.marketplace.catalogue import catalogue_of
from recjobs.sources.marketplace.choices import category_shares, choices_of, segment_of
from recjobs.sources.marketplace.config import MarketplaceConfig
from recjobs.sources.marketplace.draws import Floats, Keys
from recjobs.sources.marketplace.funnel import cart_chances, purchase_chances
from recjobs.sources.marketplace.population import population_of, present
from recjobs.sources.marketplace.words import CATEGORIES
from recjobs.sources.marketplace.world import CONSUMABLE, day_date, rows_of

Integers = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]

CONSIDERED_LAGS, REFILL_LAGS = (1, 2), (7,)
WEEK = (0.95, 0.9, 0.9, 0.95, 1.05, 1.2, 1.25)
"""How busy the days of the week are, Monday first."""
LONGEST_VISIT = 60
SAME_CATEGORY = 0.4
"""Share of a visit's views that stay in the category of its first one."""
_VIEWS_STREAM = 1


@dataclass(frozen=True)
class Views:
    """The views of a day, a row each, by visitor and in the order of the visit."""

    visitors: Integers
    """Population rows of who came, ascending."""
    visitor: Integers
    """Per view: the position in `visitors`."""
    user: Integers
    """Per view: the population row."""
    item: Integers
    """Per view: the catalogue row."""
    returned: Flags
    """Whether the user came back to the item."""
    carted: Flags
    bought: Flags

    def select(self, kept: Flags) -> Views:
        """The views where `kept`; the visitors stay."""
        return Views(
            self.visitors,
            self.visitor[kept],
            self.user[kept],
            self.item[kept],
            self.returned[kept],
            self.carted[kept],
            self.bought[kept],
        )


def visitors_of(config: MarketplaceConfig, day: int) -> Integers:
    """Population rows of the users who come on `day`, ascending."""
    users = population_of(config, day)
    chance = users.activity * WEEK[day_date(day).weekday()]
    return np.flatnonzero(draws.uniform(config.seed, "visit", users.keys, day) < chance)


@lru_cache(maxsize=max(REFILL_LAGS) + 2)
def _slots(config: MarketplaceConfig, day: int) -> tuple[Views, Floats]:
    """The day's views with new items; those of users who come back still without an item (-1).

    With them a number in (0, 1) per view, by which the item that is come back to is drawn.
    """
    random = np.random.default_rng([config.seed, _VIEWS_STREAM, day])
    users, visitors = population_of(config, day), visitors_of(config, day)
    lengths = np.minimum(random.geometric(1 / config.views_per_visit, len(visitors)), LONGEST_VISIT)
    visitor = np.repeat(np.arange(len(visitors)), lengths)
    first = np.cumsum(lengths) - lengths
    shares = category_shares(config, users, visitors, day)
    chance, which, back, stay, cart, buy = random.random((6, len(visitor)))
    drawn = _category(shares, visitor, chance)
    category = np.where(stay < SAME_CATEGORY, drawn[first][visitor] if len(visitor) else drawn, drawn)
    user = visitors[visitor]
    item = choices_of(config, day).draw(segment_of(users, user, category), category, which)
    returned = back < config.return_share
    item = np.where(returned, -1, item)
    views = _judged(config, day, Views(visitors, visitor, user, item, returned, returned, returned), cart, buy)
    return views, np.stack([chance, cart, buy])


def _category(shares: Floats, visitor: Integers, chance: Floats) -> Integers:
    """A category per view: row v of the flattened running sums lies in (v, v + 1]."""
    upto = np.cumsum(shares, axis=1)
    flat = (upto / upto[:, -1:] + np.arange(len(shares))[:, None]).ravel()
    found = np.searchsorted(flat, visitor + chance, side="left") - visitor * shares.shape[1]
    category: Integers = np.clip(found, 0, len(CATEGORIES) - 1)
    return category


def _judged(config: MarketplaceConfig, day: int, views: Views, cart: Floats, buy: Floats) -> Views:
    """`views` with what is put in the cart and bought; nothing where there is no item."""
    items = catalogue_of(config, day)
    segment = segment_of(population_of(config, day), views.user, items.category[views.item])
    in_cart = (cart < cart_chances(config, items, segment, views.item, views.returned)) & (views.item >= 0)
    bought = in_cart & (buy < purchase_chances(items, views.item))
    return replace(views, carted=in_cart, bought=bought)


@dataclass(frozen=True)
class Pool:
    """What each user may come back to on a day: user row u has `item[start[u]:start[u + 1]]`, distinct rows."""

    start: Integers
    item: Integers

    def size(self, users: Integers) -> Integers:
        """How many items each of `users` may come back to."""
        sizes: Integers = self.start[users + 1] - self.start[users]
        return sizes


@lru_cache(maxsize=2)
def pool_of(config: MarketplaceConfig, day: int) -> Pool:
    """What the users of `day` may come back to: looked at or used up, still on sale and in stock."""
    pairs = [_considered(config, day - lag) for lag in CONSIDERED_LAGS]
    pairs += [_used_up(config, day - lag) for lag in REFILL_LAGS]
    users, items = population_of(config, day), catalogue_of(config, day)
    user = rows_of(users.keys, np.concatenate([keys for keys, _ in pairs]))
    item = rows_of(items.keys, np.concatenate([keys for _, keys in pairs]))
    there = (user >= 0) & (item >= 0)
    there[there] &= items.available[item[there]]
    codes = np.sort(user[there] * len(items) + item[there])
    codes = codes[np.flatnonzero(np.diff(codes, prepend=-1))]
    start = np.searchsorted(codes, np.arange(len(users) + 1) * len(items))
    return Pool(start, codes % len(items))


def _considered(config: MarketplaceConfig, day: int) -> tuple[Keys, Keys]:
    """User and item keys of the day's new views that were not bought."""
    views, _ = _slots(config, day)
    return _keys(config, day, views.select(~views.returned & ~views.bought & (views.item >= 0)))


def _used_up(config: MarketplaceConfig, day: int) -> tuple[Keys, Keys]:
    """User and item keys of the consumables among the day's new views that were bought."""
    views, _ = _slots(config, day)
    consumable = CONSUMABLE[catalogue_of(config, day).category[views.item]]
    return _keys(config, day, views.select(views.bought & consumable))


def _keys(config: MarketplaceConfig, day: int, views: Views) -> tuple[Keys, Keys]:
    return present(config, day)[0][views.user], catalogue_of(config, day).keys[views.item]


def views_of(config: MarketplaceConfig, day: int) -> Views:
    """All views of `day`. Who has nothing to come back to skips those views."""
    views, (chance, cart, buy) = _slots(config, day)
    pool = pool_of(config, day)
    size = pool.size(views.user)
    back = np.flatnonzero(views.returned & (size > 0))
    item = views.item.copy()
    item[back] = pool.item[pool.start[views.user[back]] + (chance[back] * size[back]).astype(np.int64)]
    return _judged(config, day, replace(views, item=item), cart, buy).select(item >= 0)
