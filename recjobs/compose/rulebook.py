"""What one surface's rules say of every item: read once, so that steps only look things up."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import polars as pl

from recjobs import columns
from recjobs.compose.conditions import PATH, Mask, allowed_by, matching, named_columns
from recjobs.compose.config import ComposeConfig
from recjobs.compose.rules_config import Cap, Repeat, Rules

Floats = npt.NDArray[np.float32]
Codes = npt.NDArray[np.int32]

NEVER = np.inf
"""Days until an item is shown again that never is."""


@dataclass(frozen=True)
class Limit:
    """At most `at_most` items of a group among each `window` places, of the first `places`."""

    groups: Codes
    """[I + 1]: the group of each item; 0 for one that is in none."""
    at_most: int
    window: int
    places: int


@dataclass(frozen=True)
class Pinned:
    """An item and its place, the first being 0."""

    item: int
    place: int


@dataclass(frozen=True)
class Rulebook:
    """The rules of one surface as arrays. Position `item_index` of every array is that item's; 0 is no item."""

    allowed: Mask
    """[I + 1]: what includes and excludes leave; False at 0."""
    boost: Floats
    """[I + 1]: standard deviations that boosts add to an item's score."""
    limits: tuple[Limit, ...]
    """The caps."""
    bars: Floats
    """[T + 1, I + 1]: days after an event of a type until the item may be shown again; `NEVER`; 0: at once."""
    ruled: Mask
    """[I + 1]: on which items a repeat rule decides, and not `no_repeat` alone."""
    pinned: tuple[Pinned, ...]
    pool: Codes
    """The items that exploring tries, youngest first: available, and allowed by the rules."""
    matched: dict[str, int] = field(default_factory=dict)
    """How many items each rule means, by its kind and name."""

    @property
    def filters(self) -> bool:
        """Whether the rules keep any item out."""
        return not bool(self.allowed[1:].all())


def wanted_columns(config: ComposeConfig) -> list[str]:
    """The columns of items that the rules of `config` need."""
    names = named_columns([config.rules, *(surface.rules for surface in config.surfaces.values())])
    return sorted({*names, columns.N_EVENTS, columns.AVAILABLE})


def rulebook(config: ComposeConfig, surface: str, items: pl.DataFrame, codes: Mapping[str, int]) -> Rulebook:
    """The rules of `surface`, which must name nothing unknown. `items` has `wanted_columns`, by item index from 1."""
    own, rules = config.surfaces[surface], config.rules_of(surface)
    bars, ruled = _bars(rules, own.no_repeat, items, codes)
    indexes = {item: index for index, item in enumerate(items[columns.ITEM], start=1)} if rules.pin else {}
    return Rulebook(
        allowed=_padded(allowed_by(config.rules, items) & allowed_by(own.rules, items)),
        boost=_boost(rules, items),
        limits=tuple(_limit(cap, items, own.length) for cap in rules.cap),
        bars=bars,
        ruled=_padded(ruled),
        pinned=tuple(Pinned(indexes[pin.item], pin.place - 1) for pin in rules.pin if pin.item in indexes),
        pool=_pool(config, surface, items),
        matched=_matched(config, surface, items),
    )


def _padded(mask: Mask) -> Mask:
    padded: Mask = np.r_[False, mask]
    return padded


def _boost(rules: Rules, items: pl.DataFrame) -> Floats:
    """A factor on an item's weight e^(score in standard deviations) is the addition of its logarithm."""
    total = np.zeros(items.height + 1)
    for rule in rules.boost:
        total[1:] += matching(rule.where, items) * (np.log(rule.multiply) + rule.add)
    return total.astype(np.float32)


def _limit(cap: Cap, items: pl.DataFrame, length: int) -> Limit:
    value = pl.col(cap.column)
    if cap.column == columns.CATEGORY and cap.levels:
        value = value.cast(pl.String).str.split(PATH).list.head(cap.levels).list.join(PATH)
    groups = items.select(value.rank("dense").fill_null(0).cast(pl.Int32)).to_series().to_numpy()
    places = min(cap.within or length, length)
    return Limit(np.r_[0, groups].astype(np.int32), cap.at_most, places, places)


def _bars(rules: Rules, no_repeat: list[str], items: pl.DataFrame, codes: Mapping[str, int]) -> tuple[Floats, Mask]:
    bars = np.zeros((max(codes.values(), default=0) + 1, items.height + 1), np.float32)
    for name in no_repeat:
        bars[codes[name], 1:] = NEVER
    ruled = np.zeros(items.height, np.bool_)
    # The first rule that matches decides, so it is written last.
    for rule in reversed(rules.repeat):
        met = matching(rule.where, items)
        ruled |= met
        for name in rule.event_types:
            bars[codes[name], 1:][met] = _days(rule)
    return bars, ruled


def _days(rule: Repeat) -> float:
    return {"never": NEVER, "always": 0.0, "after": float(rule.days)}[rule.repeat]


def _pool(config: ComposeConfig, surface: str, items: pl.DataFrame) -> Codes:
    """Young or little seen items that the rules allow, the youngest first, at most as many as are tried at once."""
    explore = config.surfaces[surface].explore
    tried = (pl.col(columns.AGE_DAYS) <= config.new_days) | (pl.col(columns.N_EVENTS) < explore.below_events)
    allowed = allowed_by(config.rules, items) & allowed_by(config.surfaces[surface].rules, items)
    shown = pl.col(columns.AVAILABLE).fill_null(True) & ~pl.col(columns.ITEM).is_in(config.exclude_items)
    numbered = items.with_row_index("index", offset=1).filter(pl.Series(allowed, dtype=pl.Boolean))
    young = numbered.filter(tried.fill_null(False) & shown).sort(columns.AGE_DAYS, "index", nulls_last=True)
    return young["index"].head(explore.pool).to_numpy().astype(np.int32)


def _matched(config: ComposeConfig, surface: str, items: pl.DataFrame) -> dict[str, int]:
    own = config.surfaces[surface].rules
    found = {}
    for kind in ("include", "exclude", "repeat", "boost"):
        for number, rule in enumerate([*getattr(config.rules, kind), *getattr(own, kind)], start=1):
            found[f"{kind} {rule.name or number}"] = int(matching(rule.where, items).sum())
    return found
