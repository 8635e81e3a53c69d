"""From a view to the cart to a purchase: the chances, which rise with how well an item fits the user."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from recjobs.sources.marketplace.catalogue import Catalogue
from recjobs.sources.marketplace.choices import fit
from recjobs.sources.marketplace.config import MarketplaceConfig
from recjobs.sources.marketplace.draws import Floats

Integers = npt.NDArray[np.int64]

CART, CART_FIT, CART_RETURNED, MOST_CARTS = 0.16, 0.35, 1.6, 0.8
PURCHASE, PURCHASE_PRICE, MOST_PURCHASES = 0.38, 0.15, 0.9


def cart_chances(
    config: MarketplaceConfig, items: Catalogue, segment: Integers, rows: Integers, returned: npt.NDArray[np.bool_]
) -> Floats:
    """The chance that a view ends in the cart; higher for who comes back to an item."""
    chance = CART * np.exp(CART_FIT * fit(config, segment, items, rows))
    return np.minimum(chance * np.where(returned, CART_RETURNED, 1.0), MOST_CARTS)


def purchase_chances(items: Catalogue, rows: Integers) -> Floats:
    """The chance that what is in the cart is bought; lower for what is dear in its category."""
    return np.minimum(PURCHASE * np.exp(-PURCHASE_PRICE * items.level[rows]), MOST_PURCHASES)
