"""Whether the rules of lists name columns, event types and values that are there."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from recjobs import columns
from recjobs.compose.conditions import all_rules, item_kinds, require_rules, with_age
from recjobs.errors import MissingInputError
from recjobs.extract.snapshots import only_static
from recjobs.manifest import SourceFile
from recjobs.settings import Settings
from recjobs.sources.config import ItemsSource
from recjobs.sources.contract import item_contract
from recjobs.sources.pinning import event_days, pin_sources
from recjobs.sources.reading import read_blocks


def rules_finding(settings: Settings) -> str:
    """What there is of rules, where nothing is wrong with them.

    Raises:
        SettingsError: a rule names a column, an event type or a value that is not there.
        MissingInputError: rules ask for items, and there is no snapshot of them.
    """
    config, codes = settings.compose, settings.event_codes()
    count = sum(len(getattr(rules, kind)) for rules in all_rules(config).values() for kind in type(rules).model_fields)
    if not count:
        return "none"
    kinds = item_kinds(pl.DataFrame(schema=_item_types(settings)).to_arrow().schema)
    require_rules(config, kinds, None, codes)
    unknown = require_rules(config, kinds, _newest_items(settings), codes)
    return f"{count}, all columns known" + "".join(f"; {message}" for message in unknown)


def _item_types(settings: Settings) -> dict[str, pl.DataType]:
    """The columns that `extract` will give the items: those of the snapshot and its own counts."""
    counts = [
        columns.count_column(kind, days) for kind in settings.events.types for days in settings.extract.count_windows
    ]
    own = (columns.N_EVENTS, columns.N_USERS, columns.TRAIN_EVENTS, *counts)
    return {**item_contract(settings.items or ItemsSource(path="")).dtypes(), **dict.fromkeys(own, pl.Int64())}


def _newest_items(settings: Settings) -> pl.DataFrame:
    """The newest snapshot's items as `extract` would take them."""
    days = event_days(settings)
    files: Sequence[SourceFile] = pin_sources(settings, days[-1]).items if days else ()
    if not files or settings.items is None:
        raise MissingInputError("rules ask for items, and there is no snapshot: deliver one and name it in [items].")
    contract = item_contract(settings.items)
    frames = [block.split()[0] for file in files for block in read_blocks(file, contract)]
    items = pl.concat(frames).unique(columns.ITEM, keep="last", maintain_order=True)
    if all(file.day is None for file in files):
        items = only_static(items, columns.ITEM, settings.items.static)
    return with_age(items.with_columns(pl.lit(None, pl.Datetime("us", "UTC")).alias(columns.FIRST_EVENT)), days[-1])
