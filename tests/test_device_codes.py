from __future__ import annotations

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from recjobs.device_codes import UNKNOWN, device_code, device_codes


def test_a_code_is_the_same_everywhere() -> None:
    assert device_code("phone") == 1_146_066_910


@settings(max_examples=25)
@given(st.lists(st.none() | st.text(max_size=3)))
def test_a_series_has_the_code_of_each_name(names: list[str | None]) -> None:
    found = device_codes(pl.Series("device", names, dtype=pl.String))
    assert found.dtype == pl.Int64
    assert found.name == "device"
    assert found.to_list() == [device_code(name) if name else UNKNOWN for name in names]
    assert all(0 < device_code(name) <= 2**32 for name in names if name)
