"""Users of the sources' tests, written down pair by pair."""

from __future__ import annotations

import numpy as np
import polars as pl

from recjobs.retrieve.search.sources.users import ALL, Users

DAY = 86_400


def users_of(*pairs: list[tuple[int, int, int, int]], segments: list[str] | None = None) -> Users:
    """A user per list of (item, event code, count, last), latest first."""
    flat = np.array([pair for own in pairs for pair in own], np.int64).reshape(-1, 4)
    return Users(
        np.array([len(own) for own in pairs], np.int64),
        flat[:, 0].astype(np.int32),
        flat[:, 1].astype(np.int8),
        flat[:, 2].astype(np.int32),
        flat[:, 3],
        pl.Series(segments or [ALL] * len(pairs), dtype=pl.String),
    )
