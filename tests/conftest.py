"""Fixtures that several packages' tests share, and the order of the files."""

from __future__ import annotations

import pytest

pytest_plugins = ("tests.database", "tests.airflow_environment")

LONGEST = (
    "tests/test_job.py",
    "tests/publish/promises/test_crash_safe.py",
    "tests/retrieve/train/test_stage.py",
    "tests/forgetting/test_forget.py",
    "tests/retrieve/train/test_warm.py",
    "tests/rank/train/test_stage.py",
    "tests/extract/test_incremental.py",
    "tests/extract/test_stage.py",
    "tests/retrieve/search/test_sources_stage.py",
    "tests/retrieve/test_tastes.py",
)
"""Files of minutes, longest first: begun last, one of two workers would wait for the other."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest files first; among the others, and within a file, the order stays."""
    place = {name: number for number, name in enumerate(LONGEST)}
    items.sort(key=lambda item: place.get(item.nodeid.partition("::")[0], len(LONGEST)))
