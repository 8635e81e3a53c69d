"""The parts of the towers and of their training, and by which settings each is switched off alone."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from recjobs import columns as c
from recjobs.errors import SettingsError
from recjobs.settings import Settings, load_settings

logger = logging.getLogger("recjobs.quality")

Overrides = Mapping[str, Any]

FULL = "as shipped"
TRAIN = "retrieve.train"
ITEM_COLUMNS, USER_COLUMNS = f"{TRAIN}.ignored_item_columns", f"{TRAIN}.ignored_user_columns"
SAMPLED = {f"{TRAIN}.objective": "sampled"}


def _times(factor: float) -> Callable[[Settings], float]:
    return lambda config: factor * config.retrieve.train.temperature


def _texts(config: Settings) -> list[str]:
    """Title, description and the declared texts, of those that the data set can have."""
    return [c.TITLE, c.DESCRIPTION, *(config.items.text if config.items else ())]


def _vectors(config: Settings) -> list[str]:
    return list(config.items.vectors) if config.items else []


def _declared_of_items(config: Settings) -> list[str]:
    return [*config.items.categorical, *config.items.numeric] if config.items else []


def _declared_of_users(config: Settings) -> list[str]:
    users = config.users
    return [*users.categorical, *users.numeric, *users.text] if users else []


PARTS: dict[str, Overrides] = {
    # The history
    "no event types": {f"{TRAIN}.event_types": False},
    "no ages of events": {f"{TRAIN}.event_ages": False},
    "no activity": {f"{TRAIN}.activity": False},
    "one vector of an item, in histories too": {f"{TRAIN}.history_embedding": False},
    "encoder: mean": {f"{TRAIN}.encoder": "mean"},
    "encoder: gru": {f"{TRAIN}.encoder": "gru"},
    "encoder: attention": {f"{TRAIN}.encoder": "attention"},
    "one block": {f"{TRAIN}.blocks": 1},
    "two blocks": {f"{TRAIN}.blocks": 2},
    "no dropout": {f"{TRAIN}.dropout": 0.0},
    # What is known of users and of the visit
    "weekday as context": {f"{TRAIN}.context": ["weekday"]},
    "weekday and hour as context": {f"{TRAIN}.context": ["weekday", "hour"]},
    "no user id": {f"{TRAIN}.user_embedding": False},
    "a user id": {f"{TRAIN}.user_embedding": True},
    "no country, language, age band": {USER_COLUMNS: [c.COUNTRY, c.REGION, c.LANGUAGE, c.AGE_BAND]},
    "no interests": {USER_COLUMNS: [c.INTERESTS]},
    "no declared columns of users": {USER_COLUMNS: _declared_of_users},
    # What is known of items
    "no item id": {f"{TRAIN}.item_embedding": False},
    "no text": {ITEM_COLUMNS: _texts},
    "no ready-made vectors": {ITEM_COLUMNS: _vectors},
    "no price": {ITEM_COLUMNS: [c.PRICE]},
    "no category path": {ITEM_COLUMNS: [c.CATEGORY]},
    "no brand": {ITEM_COLUMNS: [c.BRAND]},
    "no age of items": {ITEM_COLUMNS: [c.CREATED_AT]},
    "no declared columns of items": {ITEM_COLUMNS: _declared_of_items},
    "no text, vectors, brand, category": {
        ITEM_COLUMNS: lambda config: [*_texts(config), *_vectors(config), c.BRAND, c.CATEGORY]
    },
    "no item content": {"items": None},
    # Start, targets, objective
    "no unknown-id dropout": {f"{TRAIN}.unknown_id_dropout": 0.0},
    "unknown-id dropout 0.1": {f"{TRAIN}.unknown_id_dropout": 0.1},
    "unknown-id dropout 0.3": {f"{TRAIN}.unknown_id_dropout": 0.3},
    "random start": {f"{TRAIN}.start": "random"},
    "targets: last position of a window": {f"{TRAIN}.positions": "last"},
    "targets: next event": {f"{TRAIN}.targets": "next_event"},
    "half-life of targets 10 days": {f"{TRAIN}.half_life_days": 10.0},
    "latest window of a user alone": {f"{TRAIN}.windows_per_user": 1},
    "every target of a day alike": {f"{TRAIN}.crowding": 0.0},
    "event weights all 1": {"events.types.cart.weight": 1.0, "events.types.purchase.weight": 1.0},
    "sampled softmax": SAMPLED,
    "sampled softmax without logQ": SAMPLED | {f"{TRAIN}.logq": False},
    "in-batch negatives alone": SAMPLED | {f"{TRAIN}.sampled_negatives": 0},
    "in-batch negatives alone without logQ": SAMPLED | {f"{TRAIN}.sampled_negatives": 0, f"{TRAIN}.logq": False},
    "temperature × 2": {f"{TRAIN}.temperature": _times(2)},
    "temperature / 2": {f"{TRAIN}.temperature": _times(0.5)},
    "dot product, no temperature": {f"{TRAIN}.similarity": "dot", f"{TRAIN}.temperature": 1.0},
}
"""What is switched off, and by which settings; a function makes a value from the config's own settings."""


def possible_parts(config: str, common: Overrides, names: Sequence[str]) -> dict[str, Overrides]:
    """`FULL`, then each of the named parts that changes the settings of `config`; why another doesn't is logged."""
    base = load_settings(config, common)
    parts: dict[str, Overrides] = {FULL: common}
    for name in names:
        values = {**common, **{key: value(base) if callable(value) else value for key, value in PARTS[name].items()}}
        try:
            changed = load_settings(config, values) != base
        except SettingsError as error:
            if not _is_unknown(error):
                raise
            logger.warning("%s: left out, %s", name, str(error).splitlines()[-1].split(" Known")[0].strip())
            continue
        if changed:
            parts[name] = values
        else:
            logger.warning("%s: left out, the config has it so", name)
    return parts


def _is_unknown(error: SettingsError) -> bool:
    """Whether the setting does not exist: an event type that the data lacks has no task when only its weight is set."""
    return "unknown key" in str(error) or "Field required" in str(error)
