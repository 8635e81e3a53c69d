"""What an undated snapshot may contribute."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from recjobs.manifest import SourceFile
from recjobs.sources.config import SnapshotSource


def only_static(rows: pl.DataFrame, key: str, static: Sequence[str]) -> pl.DataFrame:
    """`rows` with every column null but the key and the static ones: the others are of an unknown date."""
    changing = [name for name in rows.columns if name != key and name not in static]
    return rows.with_columns(pl.lit(None, dtype=rows.schema[name]).alias(name) for name in changing)


def undated_note(section: str, source: SnapshotSource | None, files: Sequence[SourceFile]) -> list[str]:
    """What the manifest says of a snapshot without a date; nothing of a dated one."""
    if source is None or not files or any(file.day is not None for file in files):
        return []
    kept = ", ".join(source.static) if source.static else "none"
    return [f"{section}: the snapshot is undated, so only its static columns count ({kept}) and who is listed"]
