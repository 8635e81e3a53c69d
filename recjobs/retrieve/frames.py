"""Columns of Parquet files as frames."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from recjobs import storage


def read_frame(uri: str, names: Sequence[str]) -> pl.DataFrame:
    """The columns `names` of the Parquet file at `uri`.

    Raises:
        MissingInputError: it is not there.
    """
    with storage.reading(uri) as stream:
        return pl.read_parquet(stream, columns=list(names))
