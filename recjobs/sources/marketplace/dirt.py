"""Bad rows among a day's events, as real sources have them, below the quarantine limit."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from recjobs import columns as c
from recjobs.sources.marketplace.config import MarketplaceConfig

FAULTS = ("no user", "no item", "unknown event type", "no time", "time in the far future", "event repeated")
UNKNOWN_TYPE = "hover"
FAR_FUTURE_MICROS = 4_102_444_800_000_000
"""2100-01-01."""
_DIRT_STREAM = 3


def soiled(config: MarketplaceConfig, day: int, events: pa.Table) -> tuple[pa.Table, dict[str, int]]:
    """`events` with bad rows behind it, and how many of each fault.

    A bad row is a copy of a good one with an `event_id` of its own and one fault; a repeated event is
    an exact copy. Together they are `dirty_share` of the good rows, every fault equally often.
    """
    random = np.random.default_rng([config.seed, _DIRT_STREAM, day])
    each = round(config.dirty_share * events.num_rows / len(FAULTS))
    if each == 0:
        return events, dict.fromkeys(FAULTS, 0)
    parts = [events]
    for number, fault in enumerate(FAULTS):
        rows = np.sort(random.choice(events.num_rows, each, replace=False))
        parts.append(_faulty(events.take(pa.array(rows)), fault, number))
    return pa.concat_tables(parts).combine_chunks(), dict.fromkeys(FAULTS, each)


def _faulty(rows: pa.Table, fault: str, number: int) -> pa.Table:
    count = rows.num_rows
    if fault == "event repeated":
        return rows
    rows = _with(rows, c.EVENT_ID, pa.array([f"{name}x{number}" for name in rows[c.EVENT_ID].to_pylist()]))
    if fault == "no user":
        return _with(rows, c.USER, pa.nulls(count, pa.string()))
    if fault == "no item":
        return _with(rows, c.ITEM, pa.nulls(count, pa.string()))
    if fault == "unknown event type":
        return _with(rows, c.EVENT_TYPE, pa.array([UNKNOWN_TYPE] * count))
    if fault == "no time":
        return _with(rows, c.TIMESTAMP, pa.nulls(count, c.TIME_TYPE))
    return _with(rows, c.TIMESTAMP, pa.array([FAR_FUTURE_MICROS] * count).cast(c.TIME_TYPE))


def _with(rows: pa.Table, name: str, values: pa.Array) -> pa.Table:
    return rows.set_column(rows.schema.get_field_index(name), rows.schema.field(name), values)
