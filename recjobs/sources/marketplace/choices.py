"""Which items a user looks at for the first time on a day, and by what chance.

A view goes, in three steps, to a category, then to an item of it:

- category: `interest_share` to what the user is after these days, the rest by lasting taste, which
  is the category's appeal and trend, the tilt of the user's country and age band, and own preference;
- item, given category: by the item's appeal that day, how its brand's style meets the user's style in
  that department, and how its price meets the user's price level. Users of one style and price level
  (a segment) choose alike here, so that a day needs one table of segments × items;
- or, for `return_share` of the views of users who have something to come back to, one of those
  items (`visits.py`).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from recjobs.sources.marketplace import draws
from recjobs.sources.marketplace.catalogue import Catalogue, catalogue_of
from recjobs.sources.marketplace.config import MarketplaceConfig
from recjobs.sources.marketplace.draws import Floats
from recjobs.sources.marketplace.population import Population, population_of
from recjobs.sources.marketplace.words import CATEGORIES
from recjobs.sources.marketplace.world import (
    DEPARTMENT_OF,
    PRICE_LEVELS,
    SEGMENTS,
    STYLES,
    world_of,
)

Integers = npt.NDArray[np.int64]

PRICE_TOLERANCE = 0.7
CATEGORY_TREND, CATEGORY_PERIOD = 0.4, 40
SHORTEST_INTEREST, LONGEST_INTEREST = 3, 9
"""Days for which a user is after one category."""


def category_shares(config: MarketplaceConfig, users: Population, rows: Integers, day: int) -> Floats:
    """[len(rows), C]: the share of each category in the new views of the users at `rows` on `day`."""
    taste = users.taste[rows]
    numbers = np.arange(len(CATEGORIES))
    phase = draws.uniform(config.seed, "category phase", numbers)
    trend = CATEGORY_TREND * np.sin(2 * np.pi * (day / CATEGORY_PERIOD + phase))
    shares = (1 - config.interest_share) * _softmax(taste + trend)
    shares[np.arange(len(rows)), _interest(config, users, rows, day)] += config.interest_share
    return shares


def _interest(config: MarketplaceConfig, users: Population, rows: Integers, day: int) -> Integers:
    """The category that each user is after, drawn from lasting taste anew every few days."""
    keys, longer = users.keys[rows], LONGEST_INTEREST - SHORTEST_INTEREST + 1
    period = SHORTEST_INTEREST + draws.integer(config.seed, "interest period", longer, keys)
    epoch = (day + draws.integer(config.seed, "interest start", LONGEST_INTEREST, keys)) // period
    chance = draws.uniform(config.seed, "interest", keys, epoch)
    upto = np.cumsum(_softmax(users.taste[rows]), axis=1)
    drawn: Integers = np.minimum((upto < chance[:, None]).sum(axis=1), len(CATEGORIES) - 1)
    return drawn


def _softmax(logits: Floats) -> Floats:
    weights = np.exp(logits - logits.max(axis=1, keepdims=True))
    shares: Floats = weights / weights.sum(axis=1, keepdims=True)
    return shares


@dataclass(frozen=True)
class Choices:
    """Which item a segment's users choose in a category, as one table of a day.

    Items are ordered by category here; `order` gives their catalogue rows, `start` where each
    category begins (C + 1 values).
    """

    order: Integers
    start: Integers
    weights: Floats
    """[SEGMENTS, items]."""
    upto: Floats
    """[SEGMENTS, items + 1]: running sums of `weights`, each segment's going on from the one before."""

    def chances(self, segment: Integers, category: Integers, place: Integers) -> Floats:
        """The chance of the item at `place` of the order, given segment and category of the same shape."""
        total = self.upto[segment, self.start[category + 1]] - self.upto[segment, self.start[category]]
        return np.divide(self.weights[segment, place], total, out=np.zeros(np.shape(total)), where=total > 0)

    def draw(self, segment: Integers, category: Integers, chance: Floats) -> Integers:
        """The catalogue row drawn by `chance` in (0, 1) for each segment and category; -1 where nothing is on sale."""
        low, high = self.upto[segment, self.start[category]], self.upto[segment, self.start[category + 1]]
        found = np.searchsorted(self.upto.ravel(), low + chance * (high - low), side="right") - 1
        place = found - segment * self.upto.shape[1]
        inside = np.clip(place, self.start[category], np.maximum(self.start[category + 1] - 1, 0))
        return np.where(high > low, self.order[np.minimum(inside, len(self.order) - 1)], -1)


@lru_cache(maxsize=8)
def choices_of(config: MarketplaceConfig, day: int) -> Choices:
    """The table of `day`."""
    items = catalogue_of(config, day)
    order = np.argsort(items.category, kind="stable")
    start = np.searchsorted(items.category[order], np.arange(len(CATEGORIES) + 1))
    segments = np.arange(SEGMENTS)[:, None]
    weights = items.appeal[order] * np.exp(fit(config, segments, items, order[None, :]))
    running = np.zeros((SEGMENTS, len(order) + 1))
    running[:, 1:] = np.cumsum(weights, axis=1)
    running += (np.cumsum(running[:, -1]) - running[:, -1])[:, None]
    return Choices(order, start, weights, running)


def fit(config: MarketplaceConfig, segment: Integers, items: Catalogue, rows: Integers) -> Floats:
    """How well items meet a segment's style and price level, as a log weight; arguments broadcast."""
    match = world_of(config).style_match[segment % STYLES, items.style[rows]]
    distance = (items.level[rows] - PRICE_LEVELS[segment // STYLES]) / PRICE_TOLERANCE
    log_weight: Floats = match - 0.5 * distance**2
    return log_weight


def segment_of(users: Population, rows: Integers, category: Integers) -> Integers:
    """The segment by which each user chooses within `category`; arguments broadcast."""
    segment: Integers = users.price_level[rows] * STYLES + users.style[rows, DEPARTMENT_OF[category]]
    return segment


def new_view_chances(config: MarketplaceConfig, day: int, users: Integers, items: Integers) -> Floats:
    """The chance that a new view on `day` goes to the item; population and catalogue rows broadcast."""
    population, catalogue, choices = population_of(config, day), catalogue_of(config, day), choices_of(config, day)
    place = np.empty(len(catalogue), np.int64)
    place[choices.order] = np.arange(len(catalogue))
    distinct, where = np.unique(users, return_inverse=True)
    category = catalogue.category[items]
    share = category_shares(config, population, distinct, day)[where.reshape(users.shape), category]
    return share * choices.chances(segment_of(population, users, category), category, place[items])
