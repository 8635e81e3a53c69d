"""Which group a feature of the ranker belongs to, for a reader."""

from __future__ import annotations

import re

_PAIR = (
    (r"retrieval_.*|log_rank|rank", "place in retrieval"),
    (r"filled|from_.*|score_.*|standard_.*", "the sources' scores"),
    (r"log_pair_.*|pair_.*|last_item", "what the user did with the item"),
    (r".*category.*", "the user and the category"),
    (r".*brand.*", "the user and the brand"),
    (r"price_.*", "price against the user's usual"),
)
_ITEM = (
    (r"item", "which item it is"),
    (r"log_age|age_known|fresh_.*", "age of the item"),
    (r".*price.*", "price of the item"),
    (r"share_.*", "what the item's events are"),
    (r"log_events|log_users|log_count_.*|popularity", "popularity of the item"),
    (r"category|brand", "category and brand"),
)
_USER = (
    (r"country|language|age_band|region", "who the user is"),
    (r"usual_price.*", "the user's usual price"),
    (r"log_.*|fresh_.*|activity", "the user's activity"),
)
_RULES = {"user": _USER, "item": _ITEM, "pair": _PAIR}
_REST = {"user": "declared columns of the user", "item": "declared columns of the item", "pair": "other of the pair"}


def group_of(block: str, feature: str) -> str:
    """The group of a feature of the blocks `user`, `item` and `pair`; what no rule names is the block's rest."""
    for pattern, group in _RULES[block]:
        if re.fullmatch(pattern, feature):
            return group
    return _REST[block]
