"""One trained night, shared by the tests that only look at it."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from recjobs.manifest import Manifest
from tests.rank.planted_candidates import Night, planted_night


@dataclass(frozen=True)
class TrainedNight:
    """A planted night and its `rank/train` manifest."""

    night: Night
    trained: Manifest


@pytest.fixture(scope="session")
def trained_night(tmp_path_factory: pytest.TempPathFactory) -> TrainedNight:
    from recjobs.rank.train import stage

    night = planted_night(tmp_path_factory.mktemp("night"))
    return TrainedNight(night, stage.run(night.inputs(), night.settings, night.out("rank/train")))
