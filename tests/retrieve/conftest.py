"""One planted night for the tests that only look at it."""

from __future__ import annotations

import pytest

from tests.retrieve.nights import Night, extract_of, search, settings_of, train


@pytest.fixture(scope="session")
def night(tmp_path_factory: pytest.TempPathFactory) -> Night:
    """Extract, towers and candidates of a planted night."""
    folder = tmp_path_factory.mktemp("night")
    extract, settings = extract_of(folder), settings_of(folder)
    trained = train(extract, settings, folder / "train")
    return Night(settings, extract, trained, search(extract, trained, settings, folder / "search"))
