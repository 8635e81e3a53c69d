"""The number of a device's name: the same on every night and in every process, so that nothing has to be looked up."""

from __future__ import annotations

import zlib

import numpy as np
import polars as pl

UNKNOWN = 0
_NAME, _CODE = "name", "code"


def device_code(name: str) -> int:
    """The code of a device, 1…2³²: its CRC-32 plus 1."""
    return zlib.crc32(name.encode()) + 1


def device_codes(names: pl.Series) -> pl.Series:
    """The code of each of a series of texts, int64; `UNKNOWN` where it is null or empty."""
    if names.null_count() == names.len():
        return pl.Series(names.name, np.zeros(names.len(), np.int64))
    known = [name for name in names.unique().to_list() if name]
    table = pl.DataFrame(
        {_NAME: known, _CODE: [device_code(name) for name in known]}, {_NAME: pl.String, _CODE: pl.Int64}
    )
    found = names.alias(_NAME).to_frame().join(table, on=_NAME, how="left", maintain_order="left")
    return found[_CODE].fill_null(UNKNOWN).alias(names.name)
