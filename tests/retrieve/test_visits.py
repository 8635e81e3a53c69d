"""Lists follow the device that they are for: each user's usual one, or the one that settings name."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl
import pytest

from recjobs import columns as c
from recjobs.device_codes import device_code
from recjobs.manifest import Manifest
from recjobs.retrieve.search.towers import Tower, TowerFacts, item_vectors, tower_facts, user_vectors
from recjobs.retrieve.user_features import list_time
from tests.retrieve.nights import train
from tests.retrieve.visits import COLD_FROM, DEVICES, DS, ITEMS, device_of, extracted, own_device, settings_of


@dataclass(frozen=True)
class Night:
    extract: Manifest
    trained: Manifest

    @property
    def users(self) -> pl.DataFrame:
        return pl.concat([pl.read_parquet(part.uri) for part in self.extract.parts("users")]).sort(c.USER)

    @property
    def facts(self) -> TowerFacts:
        return tower_facts(self.trained.uri("towers.json"))

    def share_of_desk(self, facts: TowerFacts, users: pl.DataFrame, **how: bool) -> npt.NDArray[np.float64]:
        """By user: how many of the best 8 items are taken at the desk."""
        tower = Tower(Path(self.trained.uri("user_tower")))
        vectors = user_vectors(tower, users, facts, list_time(DS), **how)
        items = pl.read_parquet(self.extract.uri("items.parquet"))[c.ITEM]
        catalogue = item_vectors(Tower(Path(self.trained.uri("item_tower"))), ITEMS)
        device = np.array([device_of(int(name[1:])) for name in items])
        best: npt.NDArray[np.float64] = device[np.argsort(-(vectors @ catalogue.T), axis=1)[:, :8]].mean(axis=1)
        return best


@pytest.fixture(scope="module")
def night(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Night]:
    folder = tmp_path_factory.mktemp("visits")
    with pytest.MonkeyPatch.context() as patch:
        extract = extracted(folder, patch)
        yield Night(extract, train(extract, settings_of(folder), folder / "train"))


def test_states_hold_the_device_that_most_of_the_history_is_from(night: Night) -> None:
    known = night.users[:COLD_FROM][c.USUAL_DEVICE].to_list()
    own = [device_code(DEVICES[own_device(user)]) for user in range(COLD_FROM)]
    assert set(known) == {device_code(name) for name in DEVICES}
    assert np.mean([a == b for a, b in zip(known, own, strict=True)]) > 0.8
    assert night.users[COLD_FROM:][c.USUAL_DEVICE].to_list() == [0] * 4


def test_a_list_is_for_the_users_usual_device(night: Night) -> None:
    users = night.users[:COLD_FROM]
    at_desk = users[c.USUAL_DEVICE].to_numpy() == device_code("desk")
    share = night.share_of_desk(night.facts, users)
    assert share[at_desk].mean() > 0.95
    assert share[~at_desk].mean() < 0.05


def test_a_list_for_one_device_is_so_for_everybody_with_a_history_or_none(night: Night) -> None:
    assert night.facts.device is None
    for name, wanted in (("desk", 1.0), ("phone", 0.0)):
        facts = replace(night.facts, device=name)
        assert night.share_of_desk(facts, night.users) == pytest.approx(np.full(84, wanted), abs=0.2)


def test_an_unknown_device_leaves_it_open(night: Night) -> None:
    share = night.share_of_desk(replace(night.facts, device="a device that nobody has"), night.users)
    assert 0.2 < share.mean() < 0.8
    nobody = night.share_of_desk(night.facts, night.users, unseen=True, history=False)
    assert (nobody == nobody[0]).all(), "without a history there is no usual device either"
