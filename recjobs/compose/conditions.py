"""Which items a rule's `where` means, and what is wrong with one that means none."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Literal

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from recjobs import columns, storage
from recjobs.compose.config import ComposeConfig
from recjobs.compose.rules_config import Range, Rules, Value, Where
from recjobs.errors import SettingsError

Kind = Literal["text", "number", "flag"]
Mask = npt.NDArray[np.bool_]

PATH = "/"
"""Between the levels of a category."""
_SHOWN_VALUES = 20
_ASKED = {
    "text": "text: give a value or a list of values",
    "number": "a number: give one, a list, or { min = …, max = … }",
    "flag": "true or false",
}


@dataclass(frozen=True)
class Fault:
    """Something wrong with the rules. A value that no item has may be right on another date."""

    message: str
    of_value: bool = False


def item_kinds(schema: pa.Schema) -> dict[str, Kind]:
    """The columns of items that rules may name, `age_days` among them, with what they hold."""
    found = {field.name: kind for field in schema if (kind := _kind(field.type)) is not None}
    found.pop(columns.ITEM_INDEX, None)
    return {**found, columns.AGE_DAYS: "number"}


def _kind(dtype: pa.DataType) -> Kind | None:
    if pa.types.is_dictionary(dtype):
        dtype = dtype.value_type
    if pa.types.is_string(dtype) or pa.types.is_large_string(dtype):
        return "text"
    if pa.types.is_boolean(dtype):
        return "flag"
    return "number" if pa.types.is_integer(dtype) or pa.types.is_floating(dtype) else None


def named_columns(rules: Iterable[Rules]) -> list[str]:
    """Every column that `rules` name, each once, sorted."""
    found: set[str] = set()
    for one in rules:
        found |= {column for _, where in _wheres(one) for column in where}
        found |= {cap.column for cap in one.cap}
    return sorted(found)


def read_items(uri: str, names: Sequence[str], ds: date) -> pl.DataFrame:
    """Columns `names` of `extract`'s items.parquet at `uri`, by item index; `item_id` and `age_days` always."""
    wanted = {columns.ITEM_INDEX, columns.ITEM, columns.CREATED_AT, columns.FIRST_EVENT, *names}
    with storage.reading(uri) as stream:
        table = pq.read_table(stream, columns=sorted(wanted - {columns.AGE_DAYS}))
    return with_age(pl.DataFrame(pl.from_arrow(table)).sort(columns.ITEM_INDEX), ds)


def with_age(items: pl.DataFrame, ds: date) -> pl.DataFrame:
    """`items` with `age_days`: days from creation, or the first event where that is unknown, to the end of `ds`.

    Null where both are unknown or later.
    """
    end = datetime.combine(ds + timedelta(days=1), time(), UTC)
    age = (pl.lit(end) - pl.coalesce(columns.CREATED_AT, columns.FIRST_EVENT)).dt.total_seconds() / 86_400
    return items.with_columns(pl.when(age > 0).then(age).alias(columns.AGE_DAYS))


def matching(where: Where, items: pl.DataFrame) -> Mask:
    """Which rows of `items` the condition means; all for an empty one."""
    tests = [_test(column, value) for column, value in where.items()]
    if not tests:
        return np.ones(items.height, np.bool_)
    return items.select(pl.all_horizontal(tests).fill_null(False).alias("met"))["met"].to_numpy()


def _test(column: str, value: Value) -> pl.Expr:
    cell = pl.col(column)
    if isinstance(value, Range):
        low = pl.lit(True) if value.min is None else cell >= value.min
        return low & (pl.lit(True) if value.max is None else cell <= value.max) & cell.is_not_null()
    if column == columns.CATEGORY:
        return pl.any_horizontal([_below(cell, str(one)) for one in _listed(value)])
    if isinstance(value, bool):
        return cell == value
    listed = _listed(value)
    return cell.cast(pl.String if isinstance(listed[0], str) else pl.Float64).is_in(listed)


def _below(cell: pl.Expr, path: str) -> pl.Expr:
    path = path.rstrip(PATH)
    return (cell == path) | cell.cast(pl.String).str.starts_with(path + PATH)


def _listed(value: Value) -> list[str] | list[float]:
    if isinstance(value, list):
        return value
    return [value] if isinstance(value, str) else [float(value)]  # type: ignore[arg-type]


def allowed_by(rules: Rules, items: pl.DataFrame) -> Mask:
    """Which rows of `items` the includes and excludes of `rules` leave."""
    kept = np.ones(items.height, np.bool_)
    if rules.include:
        kept = np.any([matching(rule.where, items) for rule in rules.include], axis=0)
    for rule in rules.exclude:
        kept &= ~matching(rule.where, items)
    return kept


# -- what is wrong


def require_rules(
    config: ComposeConfig, kinds: Mapping[str, Kind], items: pl.DataFrame | None, codes: Mapping[str, int]
) -> list[str]:
    """Raises SettingsError for the first rule that names a column, an event type or a value that is not there.

    `items` has the columns that rules name; without it values are not looked at. With `unknown_values = "warn"` the
    faults of values are returned instead.
    """
    faults = list(_faults(config, kinds, items, codes))
    values = [fault.message for fault in faults if fault.of_value]
    wrong = [fault.message for fault in faults if not fault.of_value]
    if config.unknown_values == "refuse":
        wrong += [f'{message} (compose.unknown_values = "warn" goes on without it.)' for message in values]
    if wrong:
        raise SettingsError(wrong[0])
    return values


def all_rules(config: ComposeConfig) -> dict[str, Rules]:
    """Every set of rules, by the place in settings where it stands."""
    own = {f"compose.surfaces.{name}.rules": surface.rules for name, surface in config.surfaces.items()}
    return {"compose.rules": config.rules, **own}


def _faults(
    config: ComposeConfig, kinds: Mapping[str, Kind], items: pl.DataFrame | None, codes: Mapping[str, int]
) -> Iterator[Fault]:
    for place, rules in all_rules(config).items():
        wrong = list(_wrong_names(place, rules, kinds, codes))
        yield from wrong
        if items is not None and not wrong:
            yield from _wrong_values(place, rules, items)


def _wrong_names(place: str, rules: Rules, kinds: Mapping[str, Kind], codes: Mapping[str, int]) -> Iterator[Fault]:
    for label, where in _wheres(rules):
        for column, value in where.items():
            if column not in kinds:
                yield _no_column(f"{place}.{label}", column, kinds)
            elif not _fits(kinds[column], value):
                yield Fault(f"{place}.{label}: {column!r} can't be {_said(value)}: it holds {_ASKED[kinds[column]]}.")
    for number, cap in enumerate(rules.cap, start=1):
        if cap.column not in kinds:
            yield _no_column(f"{place}.cap {number}", cap.column, kinds)
    for number, rule in enumerate(rules.repeat, start=1):
        for name in rule.event_types:
            if name not in codes:
                yield Fault(
                    f"{place}.repeat {number} names {name!r}, which is no event type; [events.types] has "
                    f"{sorted(codes)}."
                )


def _no_column(place: str, column: str, kinds: Mapping[str, Kind]) -> Fault:
    return Fault(
        f"{place} names {column!r}, which is no column of items that a rule can ask for; there are {sorted(kinds)}."
        f"{_nearest(column, kinds)} Declare further ones under [items]."
    )


def _fits(kind: Kind, value: Value) -> bool:
    if isinstance(value, bool):
        return kind == "flag"
    if isinstance(value, Range):
        return kind == "number"
    one = value[0] if isinstance(value, list) and value else value
    if isinstance(one, list):
        return False
    return kind == ("text" if isinstance(one, str) else "number")


def _said(value: Value) -> str:
    return "a range" if isinstance(value, Range) else repr(value)


def _wrong_values(place: str, rules: Rules, items: pl.DataFrame) -> Iterator[Fault]:
    for label, where in _wheres(rules):
        for column, value in where.items():
            for one in _texts(value):
                if not matching({column: one}, items).any():
                    yield _no_value(f"{place}.{label}", column, one, items[column])
    known = items[columns.ITEM]
    for number, pin in enumerate(rules.pin, start=1):
        if pin.item not in known:
            yield _no_value(f"{place}.pin {number}", columns.ITEM, pin.item, known)


def _texts(value: Value) -> list[str]:
    return [one for one in (value if isinstance(value, list) else [value]) if isinstance(one, str)]


def _no_value(place: str, column: str, value: str, cells: pl.Series) -> Fault:
    known = cells.drop_nulls().cast(pl.String).unique().sort().to_list()
    if column == columns.CATEGORY:
        known = sorted({prefix for path in known for prefix in _prefixes(path)})
    shown = ", ".join(known[:_SHOWN_VALUES]) + (f", … ({len(known)} in all)" if len(known) > _SHOWN_VALUES else "")
    message = f"{place}: no item has {column} {value!r}.{_nearest(value, known)} Known: {shown or 'none'}."
    return Fault(message, of_value=True)


def _prefixes(path: str) -> Iterator[str]:
    levels = path.split(PATH)
    return (PATH.join(levels[: depth + 1]) for depth in range(len(levels)))


def _nearest(name: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(name, list(known), n=1, cutoff=0.6)
    return f" Did you mean {close[0]!r}?" if close else ""


def _wheres(rules: Rules) -> Iterator[tuple[str, Where]]:
    """Each rule's place in its set (`exclude 2`) and its condition."""
    for kind in ("include", "exclude", "repeat", "boost"):
        for number, rule in enumerate(getattr(rules, kind), start=1):
            yield f"{kind} {number}" + (f" ({rule.name})" if rule.name else ""), rule.where
