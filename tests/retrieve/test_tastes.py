"""Each input of the towers, by config alone: a taste that only it gives away is followed."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import numpy as np
import pytest

from recjobs.manifest import Manifest
from tests.retrieve.tastes import (
    COLD_FROM,
    DS,
    GROUPS,
    ITEMS,
    SHOWN,
    TOLD,
    USERS,
    WARM_ITEMS,
    Trained,
    extracted,
    group,
    of_weekend,
    share_of_group,
    shown_by,
    told_by,
    trained,
)

ENCODERS = ("attention", "gru", "mean")


@pytest.fixture(scope="module")
def extract(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Manifest]:
    with pytest.MonkeyPatch.context() as patch:
        yield extracted(tmp_path_factory.mktemp("tastes"), patch)


@pytest.fixture(scope="module", params=ENCODERS)
def towers(request: pytest.FixtureRequest, extract: Manifest, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    folder = tmp_path_factory.mktemp("towers") / request.param
    return trained(extract, folder, retrieve__train__encoder=request.param)


def users_of(way: str, cold: bool) -> list[int]:
    return [user for user in range(USERS) if told_by(user) == way and (user >= COLD_FROM) == cold]


def test_every_encoder_is_far_above_popularity(towers: Trained) -> None:
    users = [user for user in range(COLD_FROM) if told_by(user) != "hide"]
    assert share_of_group(towers.user_vectors(), towers.item_vectors(), users) > 0.85 > 2 / GROUPS


@pytest.mark.parametrize("way", [way for way in TOLD if way not in ("hide", "age")])
def test_a_user_without_events_is_known_by_what_is_told(towers: Trained, way: str) -> None:
    assert share_of_group(towers.user_vectors(), towers.item_vectors(), users_of(way, cold=True)) > 0.8


def test_a_number_tells_the_low_from_the_high(towers: Trained) -> None:
    users = [user for user in users_of("age", cold=True) if group(user) != 1]
    assert share_of_group(towers.user_vectors(), towers.item_vectors(), users) > 0.7


@pytest.mark.parametrize("column", SHOWN)
def test_an_item_without_events_is_known_by_what_is_shown(towers: Trained, column: str) -> None:
    users, items = towers.user_vectors(), towers.item_vectors()
    warm = [user for user in range(COLD_FROM) if told_by(user) != "hide"]
    by_group = np.stack([users[[user for user in warm if group(user) == of]].mean(axis=0) for of in range(GROUPS)])
    cold = [item for item in range(WARM_ITEMS, ITEMS) if shown_by(item) == column]
    assert len(cold) == 6
    found = np.argmax(items[cold] @ by_group.T, axis=1)
    assert (found == [group(item) for item in cold]).mean() > 0.8


def test_lists_follow_the_weekday_of_the_day_they_are_for(towers: Trained) -> None:
    items = towers.item_vectors()[:WARM_ITEMS]
    users = [user for user in range(COLD_FROM) if told_by(user) != "hide"]
    weekend = np.array([of_weekend(item) for item in range(WARM_ITEMS)])
    shares = {}
    for day in (5, 6, 7, 8):  # lists for Saturday, Sunday, Monday, Tuesday
        vectors = towers.user_vectors(DS + timedelta(days=day - 1))[users]
        shares[day] = weekend[np.argsort(-(vectors @ items.T), axis=1)[:, :9]].mean()
    assert min(shares[5 + 1], shares[6 + 1 - 1]) > 0.7 or shares
    print(shares)


def test_who_hides_an_item_gets_less_of_its_group(towers: Trained) -> None:
    hiders = users_of("hide", cold=True)
    users, items = towers.user_vectors(), towers.item_vectors()
    print("hide", share_of_group(users, items, hiders), share_of_group(towers.user_vectors(history=False), items, hiders))


def test_unseen_users_and_items_keep_what_their_features_say(towers: Trained) -> None:
    users = [user for user in range(COLD_FROM) if told_by(user) in ("interests", "hobby", "bio")]
    print(share_of_group(towers.user_vectors(unseen=True), towers.item_vectors(), users))
    print(share_of_group(towers.user_vectors(unseen=True, history=False), towers.item_vectors(), users))
    print(share_of_group(towers.user_vectors(), towers.item_vectors(unseen=True), users))
