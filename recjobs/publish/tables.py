"""The list tables: what COPY sends to each, and which columns of `compose`'s Parquet files it comes from."""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa

from recjobs import columns


@dataclass(frozen=True)
class Table:
    """One of the list tables."""

    name: str
    schema: pa.Schema
    """As COPY sends it; a `surface` column, where there is one, comes from the file's place."""
    parquet: tuple[str, ...]
    """The Parquet columns it is made of."""
    key: tuple[str, ...]

    @property
    def payload(self) -> tuple[str, ...]:
        """The columns that nobody searches by."""
        return tuple(name for name in self.schema.names if name not in self.key)


def _schema(**types: pa.DataType) -> pa.Schema:
    return pa.schema([pa.field(name, kind, nullable=False) for name, kind in types.items()])


_TEXT, _TEXTS, _REALS = pa.string(), pa.list_(pa.string()), pa.list_(pa.float32())
USERS = Table(
    "user_lists",
    _schema(
        surface=_TEXT, user_id=_TEXT, items=_TEXT, scores=_REALS, reasons=_TEXTS, reason_of=pa.binary(), regime=_TEXT
    ),
    (columns.USER, columns.ITEM, columns.SCORE, columns.REASON, columns.REGIME),
    ("user_id", "surface"),
)
ITEMS = Table(
    "item_lists",
    _schema(item_id=_TEXT, items=_TEXT, scores=_REALS),
    (columns.ITEM, columns.SIMILAR_ITEM, columns.SCORE),
    ("item_id",),
)
SEGMENTS = Table(
    "segment_lists",
    _schema(surface=_TEXT, segment=_TEXT, items=_TEXT, scores=_REALS, reasons=_TEXTS, reason_of=pa.binary()),
    (columns.SEGMENT, columns.ITEM, columns.SCORE, columns.REASON),
    ("segment", "surface"),
)
TABLES = (USERS, ITEMS, SEGMENTS)
