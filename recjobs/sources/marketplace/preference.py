"""What each user would look at, put in the cart and buy on a day: the truth that models are to learn."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import Literal

import numpy as np
import numpy.typing as npt

from recjobs.sources.marketplace.catalogue import ITEM_PREFIX, catalogue_of
from recjobs.sources.marketplace.choices import new_view_chances, segment_of
from recjobs.sources.marketplace.config import MarketplaceConfig
from recjobs.sources.marketplace.draws import Floats
from recjobs.sources.marketplace.funnel import cart_chances, purchase_chances
from recjobs.sources.marketplace.population import USER_PREFIX, population_of
from recjobs.sources.marketplace.visits import pool_of
from recjobs.sources.marketplace.world import day_number, keys_of, rows_of

Integers = npt.NDArray[np.int64]
EventType = Literal["view", "cart", "purchase"]

PAIRS_AT_ONCE = 1_000_000


def true_preference(
    config: MarketplaceConfig,
    users: Sequence[str],
    items: Sequence[str],
    on: date,
    event_type: EventType = "view",
) -> npt.NDArray[np.float32]:
    """float32[len(users), len(items)]: the chance that one of the user's views on `on` goes to the item.

    With `event_type` cart or purchase, that it goes there and ends in the cart, or is bought. Over all
    items of the day a user's chances of a view sum to 1. A user who is not there on that day has 0
    everywhere, and so has an item that is not on sale or out of stock.
    """
    day = day_number(on)
    user_rows = rows_of(population_of(config, day).keys, keys_of(USER_PREFIX, users))
    item_rows = rows_of(catalogue_of(config, day).keys, keys_of(ITEM_PREFIX, items))
    known, sold = np.flatnonzero(user_rows >= 0), np.flatnonzero(item_rows >= 0)
    truth = np.zeros((len(users), len(items)), np.float32)
    block = max(1, PAIRS_AT_ONCE // max(1, len(sold)))
    for at in range(0, len(known), block):
        rows = known[at : at + block]
        chances = preference_of(config, day, user_rows[rows][:, None], item_rows[sold][None, :], event_type)
        truth[np.ix_(rows, sold)] = chances
    return truth


def preference_of(
    config: MarketplaceConfig, day: int, users: Integers, items: Integers, event_type: EventType = "view"
) -> Floats:
    """`true_preference` for population and catalogue rows of `day` that broadcast."""
    new = new_view_chances(config, day, users, items)
    back = _return_chances(config, day, users, items)
    share = np.where(pool_of(config, day).size(users) > 0, config.return_share, 0.0)
    if event_type == "view":
        return (1 - share) * new + share * back
    catalogue = catalogue_of(config, day)
    segment = segment_of(population_of(config, day), users, catalogue.category[items])
    first, again = (cart_chances(config, catalogue, segment, items, np.array(back)) for back in (False, True))
    carted = (1 - share) * new * first + share * back * again
    return carted if event_type == "cart" else carted * purchase_chances(catalogue, items)


def _return_chances(config: MarketplaceConfig, day: int, users: Integers, items: Integers) -> Floats:
    """The chance that who comes back to something comes back to the item."""
    pool, width = pool_of(config, day), len(catalogue_of(config, day))
    owner = np.repeat(np.arange(len(pool.start) - 1), np.diff(pool.start))
    codes = owner * width + pool.item
    if len(codes) == 0:
        return np.zeros(np.broadcast_shapes(users.shape, items.shape))
    wanted = users * width + items
    found = codes[np.minimum(np.searchsorted(codes, wanted), len(codes) - 1)] == wanted
    chances: Floats = found / np.maximum(pool.size(users), 1)
    return chances
