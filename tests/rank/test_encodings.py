from __future__ import annotations

import zlib
from datetime import UTC, datetime

import numpy as np
import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from recjobs.rank.encodings import COUNT_BUCKETS, count_bucket, days_before, freshness, hashed, local_codes


@settings(deadline=None)
@given(st.lists(st.none() | st.text(max_size=5), max_size=20))
def test_a_hash_depends_on_the_text_alone(values: list[str | None]) -> None:
    together = hashed(pl.Series(values, dtype=pl.String), 50)
    alone = [int(hashed(pl.Series([value], dtype=pl.String), 50)[0]) for value in values]
    assert together.tolist() == alone
    assert all((bucket == 0) == (value is None) for bucket, value in zip(alone, values, strict=True))
    assert all(0 <= bucket < 50 for bucket in alone)


def test_hashes_never_change() -> None:
    """A saved model's embedding rows mean these buckets: CRC-32 of the text, over all rows but the unknown one."""
    texts = ["i0001", "shoes/boots", "ÅÄÖ"]
    assert hashed(pl.Series(texts), 1000).tolist() == [zlib.crc32(text.encode()) % 999 + 1 for text in texts]


def test_count_buckets_are_powers_of_two() -> None:
    assert count_bucket(np.array([0, 1, 2, 3, 4, 7, 8, 10**9])).tolist() == [1, 2, 3, 3, 4, 4, 5, COUNT_BUCKETS - 1]


def test_days_before_counts_from_the_cutoff_and_never_below_0() -> None:
    now = int(datetime(2026, 3, 2, tzinfo=UTC).timestamp())
    times = pl.Series(
        [datetime(2026, 3, 1, 12, tzinfo=UTC), datetime(2026, 3, 5, tzinfo=UTC), None], dtype=pl.Datetime("us", "UTC")
    )
    days = days_before(now, times)
    np.testing.assert_array_equal(days, np.array([0.5, 0.0, np.nan], np.float32))
    np.testing.assert_allclose(freshness(days, 1.0), [1 / 1.5, 1.0, 0.0])


def test_local_codes_are_dense_and_0_for_null() -> None:
    codes, size = local_codes(pl.Series(["b", None, "a", "b"]))
    assert (codes.tolist(), size) == ([2, 0, 1, 2], 3)
