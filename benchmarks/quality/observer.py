"""How far a model can come that sees only what recommenders see: the chances that an observer of the rules would give.

The observer knows the marketplace's rules and every item, but must read users' tastes out of their histories, as
towers must. What they view for the first time tells style and price level (exactly, by Bayes' rule over all
combinations), the days on which they looked at a category tell their taste and what they are after now (by shrunk
counts, whose three numbers were chosen on the validation day), and what they viewed in the last two days is what
they may come back to. So this is no bound in the strict sense: it was reached, by knowing what nobody tells towers.
"""

from __future__ import annotations

from datetime import date
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl

from benchmarks.quality.problem import SECONDS_A_DAY, Problem
from benchmarks.quality.ranking import Scores
from recjobs import columns as c
from recjobs.sources.marketplace.catalogue import ITEM_PREFIX, Catalogue, catalogue_of
from recjobs.sources.marketplace.choices import choices_of
from recjobs.sources.marketplace.config import MarketplaceConfig
from recjobs.sources.marketplace.population import MAIN_STYLE
from recjobs.sources.marketplace.visits import CONSIDERED_LAGS
from recjobs.sources.marketplace.words import AGE_BANDS, CATEGORIES, COUNTRIES, DEPARTMENTS
from recjobs.sources.marketplace.world import (
    DEPARTMENT_OF,
    PRICE_LEVELS,
    SEGMENTS,
    STYLES,
    day_number,
    keys_of,
    rows_of,
    world_of,
)

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

PRIOR_DAYS = 6.0
"""How many days with views the prior of origin and age counts as."""
INTEREST_HALF_LIFE = 1.5
INTEREST_TRUST = 2.0
"""Of the days with views lately, by age: how many make half of what a sure interest would."""
_LEAST = 1e-12


class _Seen(NamedTuple):
    """Distinct (user, item, day) of the history, of items on sale: user row, catalogue row, days before the list's."""

    user: Ints
    item: Ints
    age: Ints
    new: npt.NDArray[np.bool_]
    """Whether the user had not viewed it in the days before, so that they did not merely come back."""


def observed_chances(config: MarketplaceConfig, problem: Problem, states: pl.DataFrame, ds: date) -> Scores:
    """[U, I + 1]: what the observer takes each user's chances of a view to be on the day after `ds`."""
    items, day = catalogue_of(config, day_number(ds)), day_number(ds)
    seen = _seen(problem, items)
    users = problem.shape[0]
    new = _shares(config, states, seen, items)[:, items.category] * _chances_within(
        config, day, _segments(config, day, seen, items, users), items
    )
    returning = _pool(seen, users, len(items))
    share = config.return_share * (returning.sum(axis=1, keepdims=True) > 0)
    by_row = (1 - share) * new + share * returning
    return _by_index(by_row, problem, items)


def _seen(problem: Problem, items: Catalogue) -> _Seen:
    keys = keys_of(ITEM_PREFIX, problem.items.item_id.to_list())
    row = rows_of(items.keys, keys)[problem.history.item]
    age = (problem.now - 1 - problem.history.time) // SECONDS_A_DAY
    frame = pl.DataFrame({"user": problem.history.user, "item": row, "age": age}).filter(pl.col("item") >= 0).unique()
    frame = frame.sort("user", "item", "age", descending=[False, False, True])
    lag = frame.select((pl.col("age").shift(1).over("user", "item") - pl.col("age")).alias("lag"))["lag"]
    new = (lag.is_null() | (lag > max(CONSIDERED_LAGS))).to_numpy()
    user, item, age = (frame[name].to_numpy().astype(np.int64) for name in ("user", "item", "age"))
    return _Seen(user, item, age, new)


# -- which item, given the category


def _segments(config: MarketplaceConfig, day: int, seen: _Seen, items: Catalogue, users: int) -> Floats:
    """[U, departments, segments]: the posterior of each user's style and price level in each department."""
    told = _log_likelihoods(config, day, items)[:, seen.item[seen.new]].T
    cell = seen.user[seen.new] * len(DEPARTMENTS) + DEPARTMENT_OF[items.category[seen.item[seen.new]]]
    likelihood = np.zeros((users * len(DEPARTMENTS), SEGMENTS))
    np.add.at(likelihood, cell, told)
    by_style = likelihood.reshape(users, len(DEPARTMENTS), len(PRICE_LEVELS), STYLES)
    by_style -= by_style.max(axis=(2, 3), keepdims=True)
    prior = MAIN_STYLE * np.eye(STYLES) + (1 - MAIN_STYLE) / STYLES
    joint = np.exp(by_style)
    given_main = np.einsum("udps,ms->udpm", joint, prior) + _LEAST
    main = np.log(given_main).sum(axis=1)
    main = np.exp(main - main.max(axis=(1, 2), keepdims=True))
    main /= main.sum(axis=(1, 2), keepdims=True)
    posterior = joint * np.einsum("upm,udpm,ms->udps", main, 1 / given_main, prior)
    shares: Floats = posterior / posterior.sum(axis=(2, 3), keepdims=True)
    return shares.reshape(users, len(DEPARTMENTS), SEGMENTS)


def _within(config: MarketplaceConfig, day: int, items: Catalogue) -> Floats:
    """[segments, items]: the chance of each item, given its category, by catalogue row."""
    choices = choices_of(config, day)
    chances = np.zeros((SEGMENTS, len(items)))
    chances[:, choices.order] = choices.weights
    total = np.zeros((SEGMENTS, len(CATEGORIES)))
    for category in range(len(CATEGORIES)):
        total[:, category] = chances[:, items.category == category].sum(axis=1)
    return chances / np.maximum(total[:, items.category], _LEAST)


def _log_likelihoods(config: MarketplaceConfig, day: int, items: Catalogue) -> Floats:
    """As `_within`, as logs; an item that is out of stock tells nothing."""
    chances = _within(config, day, items)
    return np.where(chances > 0, np.log(np.maximum(chances, _LEAST)), 0.0)


def _chances_within(config: MarketplaceConfig, day: int, segments: Floats, items: Catalogue) -> Floats:
    """[U, items]: the chance of each item for each user, given its category."""
    within = _within(config, day, items)
    found = np.zeros((len(segments), len(items)))
    for department in range(len(DEPARTMENTS)):
        mine = np.flatnonzero(DEPARTMENT_OF[items.category] == department)
        found[:, mine] = segments[:, department] @ within[:, mine]
    return found


# -- which category


def _shares(config: MarketplaceConfig, states: pl.DataFrame, seen: _Seen, items: Catalogue) -> Floats:
    """[U, C]: what share of the new views each category gets."""
    prior = _prior(config, states)
    frame = pl.DataFrame({"user": seen.user, "category": items.category[seen.item], "age": seen.age})
    days = frame.filter(pl.Series(seen.new)).unique()
    cell = days["user"].to_numpy(), days["category"].to_numpy()
    counts, lately = np.zeros_like(prior), np.zeros_like(prior)
    np.add.at(counts, cell, 1.0)
    np.add.at(lately, cell, 0.5 ** (days["age"].to_numpy() / INTEREST_HALF_LIFE))
    lasting = (counts + PRIOR_DAYS * prior) / (counts.sum(axis=1, keepdims=True) + PRIOR_DAYS)
    # What was looked at lately beyond what lasting taste says is what the user is after.
    lift = lately**2 / np.maximum(lasting, 0.01)
    after = lift / np.maximum(lift.sum(axis=1, keepdims=True), _LEAST)
    much = lately.sum(axis=1, keepdims=True)
    trust = config.interest_share * much / (much + INTEREST_TRUST)
    shares: Floats = (1 - trust) * lasting + trust * after
    return shares


def _prior(config: MarketplaceConfig, states: pl.DataFrame) -> Floats:
    """[U, C]: the shares of a user of that country and age band, whose own taste is unknown."""
    world = world_of(config)
    country, age = _places(states[c.COUNTRY], COUNTRIES), _places(states[c.AGE_BAND], AGE_BANDS)
    tilts = np.vstack([world.country_tilt, np.zeros(len(CATEGORIES))])[country]
    logits = world.appeal + tilts + np.vstack([world.age_tilt, np.zeros(len(CATEGORIES))])[age]
    weights = np.exp(logits - logits.max(axis=1, keepdims=True))
    shares: Floats = weights / weights.sum(axis=1, keepdims=True)
    return shares


def _places(values: pl.Series, known: tuple[str, ...]) -> Ints:
    """The place of each value among `known`, -1 for another or none."""
    places = dict(zip(known, range(len(known)), strict=True))
    return np.array([places.get(value, -1) for value in values.to_list()])


# -- what users come back to


def _pool(seen: _Seen, users: int, items: int) -> Floats:
    """[U, items]: equal chances of what was viewed for the first time in the last days."""
    recent = seen.new & (seen.age < max(CONSIDERED_LAGS))
    pool = np.zeros((users, items))
    pool[seen.user[recent], seen.item[recent]] = 1.0
    chances: Floats = pool / np.maximum(pool.sum(axis=1, keepdims=True), 1.0)
    return chances


def _by_index(by_row: Floats, problem: Problem, items: Catalogue) -> Scores:
    rows = rows_of(items.keys, keys_of(ITEM_PREFIX, problem.items.item_id[1:].to_list()))
    scores = np.zeros(problem.shape, np.float32)
    scores[:, 1:][:, rows >= 0] = by_row[:, rows[rows >= 0]]
    return scores
