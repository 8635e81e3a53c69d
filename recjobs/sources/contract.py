"""The input contract of DESIGN §4 as data: which columns a source has, their kinds, which must be there."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

import polars as pl

from recjobs import columns as c
from recjobs.errors import SettingsError
from recjobs.sources.config import EventsSource, Format, ItemsSource, SnapshotSource, UsersSource

Kind = Literal["id", "text", "number", "time", "flag", "vector"]

DTYPES: dict[Kind, pl.DataType] = {
    "id": pl.String(),
    "text": pl.String(),
    "number": pl.Float64(),
    "time": pl.Datetime("us", "UTC"),
    "flag": pl.Boolean(),
    "vector": pl.List(pl.Float32()),
}


@dataclass(frozen=True)
class Column:
    """One column as we name it and as the source does."""

    name: str
    source: str
    kind: Kind
    required: bool = False
    """Each cell must have a value."""
    expected: bool = False
    """The file must have the column; another one that is not there is read as nulls."""


@dataclass(frozen=True)
class Contract:
    """What the files of one source hold. `section` is the settings section to name in messages."""

    section: Literal["events", "items", "users"]
    format: Format
    columns: tuple[Column, ...]

    def dtypes(self) -> dict[str, pl.DataType]:
        """The polars type of each column that `reading` yields."""
        return {column.name: DTYPES[column.kind] for column in self.columns}


_EVENT_OPTIONAL: dict[str, Kind] = {
    c.EVENT_ID: "id",
    c.VALUE: "number",
    c.QUANTITY: "number",
    c.QUERY: "text",
    c.COUNTRY: "text",
    c.REGION: "text",
    c.DEVICE: "text",
    c.LANGUAGE: "text",
    c.SESSION: "text",
    c.SURFACE: "text",
}

ITEM_COLUMNS: dict[str, Kind] = {
    c.TITLE: "text",
    c.DESCRIPTION: "text",
    c.CATEGORY: "text",
    c.BRAND: "text",
    c.SELLER: "text",
    c.LANGUAGE: "text",
    c.PRICE: "number",
    c.CREATED_AT: "time",
    c.AVAILABLE: "flag",
}

USER_COLUMNS: dict[str, Kind] = {
    c.COUNTRY: "text",
    c.REGION: "text",
    c.LANGUAGE: "text",
    c.AGE_BAND: "text",
    c.INTERESTS: "text",
    c.SIGNUP_AT: "time",
}


def event_contract(source: EventsSource) -> Contract:
    """What event files hold: the columns of DESIGN §4, and those that `identity` names besides."""
    with_item = any(kind.has_item for kind in source.types.values())
    kinds: dict[str, Kind] = {c.USER: "id", c.ITEM: "id", c.EVENT_TYPE: "text", c.TIMESTAMP: "time", **_EVENT_OPTIONAL}
    kinds |= {name: "text" for name in source.identity if name not in kinds}
    required = {c.USER, c.EVENT_TYPE, c.TIMESTAMP}
    present = required | set(source.identity) | ({c.ITEM} if with_item else set())
    _check_renames("events", source.columns, kinds)
    return Contract("events", source.format, _columns(kinds, source.columns, required, present))


def item_contract(source: ItemsSource) -> Contract:
    """What item snapshots hold."""
    extra = _declared(source.categorical, "text") | _declared(source.numeric, "number")
    extra |= _declared(source.text, "text") | _declared(source.vectors, "vector")
    return _snapshot_contract("items", c.ITEM, ITEM_COLUMNS, extra, source)


def user_contract(source: UsersSource) -> Contract:
    """What user snapshots hold."""
    extra = _declared(source.categorical, "text") | _declared(source.numeric, "number")
    extra |= _declared(source.text, "text") | _declared(source.vectors, "vector")
    return _snapshot_contract("users", c.USER, USER_COLUMNS, extra, source)


def _declared(names: Iterable[str], kind: Kind) -> dict[str, Kind]:
    return dict.fromkeys(names, kind)


def _snapshot_contract(
    section: Literal["items", "users"],
    key: str,
    known: Mapping[str, Kind],
    extra: Mapping[str, Kind],
    source: SnapshotSource,
) -> Contract:
    kinds: dict[str, Kind] = {key: "id", **known, **{name: kind for name, kind in extra.items() if name not in known}}
    _check_renames(section, source.columns, kinds)
    unknown = sorted(set(source.static) - set(kinds))
    if unknown:
        raise SettingsError(f"[{section}] static names {unknown[0]!r}, which is no column; known: {sorted(kinds)}.")
    return Contract(section, source.format, _columns(kinds, source.columns, {key}, {key, *extra}))


def _check_renames(section: str, renames: Mapping[str, str], kinds: Mapping[str, Kind]) -> None:
    unknown = sorted(set(renames) - set(kinds))
    if unknown:
        raise SettingsError(
            f"[{section}.columns] {unknown[0]!r} is no column of ours; known: {sorted(kinds)}. "
            "Write our name on the left, the source's on the right."
        )


def _columns(
    kinds: Mapping[str, Kind], renames: Mapping[str, str], required: set[str], present: set[str]
) -> tuple[Column, ...]:
    return tuple(
        Column(name, renames.get(name, name), kind, name in required, name in present or name in renames)
        for name, kind in kinds.items()
    )
