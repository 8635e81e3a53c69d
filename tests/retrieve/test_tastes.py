"""Each input of the towers, by config alone: a taste that only it gives away is followed."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import numpy as np
import pytest

from recjobs.manifest import Manifest
from recjobs.retrieve.search.towers import Vectors
from tests.retrieve.tastes import (
    COLD_FROM,
    DAYS,
    FIRST,
    GROUPS,
    ITEMS,
    SHOWN,
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

ENCODERS = ("attention", *(pytest.param(name, marks=pytest.mark.slow) for name in ("mean", "gru")))
EPOCHS = {"attention": 12, "mean": 12, "gru": 24}
"""The recurrent unit has no mean of the history to fall back on, and needs longer to hear of weekdays."""


@pytest.fixture(scope="module")
def extract(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Manifest]:
    with pytest.MonkeyPatch.context() as patch:
        yield extracted(tmp_path_factory.mktemp("tastes"), patch)


@pytest.fixture(scope="module", params=ENCODERS)
def towers(request: pytest.FixtureRequest, extract: Manifest, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    folder = tmp_path_factory.mktemp("towers") / request.param
    encoder = request.param
    return trained(extract, folder, retrieve__train__encoder=encoder, retrieve__train__epochs=EPOCHS[encoder])


def users_of(way: str, cold: bool) -> list[int]:
    return [user for user in range(USERS) if told_by(user) == way and (user >= COLD_FROM) == cold]


def untold(way: str = "hide") -> list[int]:
    """Users with events but those of one way."""
    return [user for user in range(COLD_FROM) if told_by(user) != way]


def test_every_encoder_is_far_above_popularity(towers: Trained) -> None:
    assert share_of_group(towers.everybody, towers.catalogue, untold()) > 0.9 > 2 / GROUPS


@pytest.mark.parametrize("way", ["interests", "bio", "hobby", "face"])
def test_a_user_without_events_is_known_by_what_is_told(towers: Trained, way: str) -> None:
    assert share_of_group(towers.everybody, towers.catalogue, users_of(way, cold=True)) > 0.8


def test_a_number_tells_the_low_from_the_high(towers: Trained) -> None:
    users = [user for user in users_of("age", cold=True) if group(user) != 1]
    assert share_of_group(towers.everybody, towers.catalogue, users) > 0.8


@pytest.mark.parametrize("column", SHOWN)
def test_an_item_without_events_is_known_by_what_is_shown(towers: Trained, column: str) -> None:
    cold = [item for item in range(WARM_ITEMS, ITEMS) if shown_by(item) == column]
    assert len(cold) == 6
    assert group_of_its_users(towers, towers.catalogue[cold]) == [group(item) for item in cold]


def group_of_its_users(towers: Trained, items: Vectors) -> list[int]:
    """The group whose users are nearest to each item."""
    mean = [towers.everybody[[user for user in untold() if group(user) == of]].mean(axis=0) for of in range(GROUPS)]
    nearest: list[int] = np.argmax(items @ np.stack(mean).T, axis=1).tolist()
    return nearest


def test_lists_follow_the_weekday_of_the_day_they_are_for(towers: Trained) -> None:
    weekend = np.array([of_weekend(item) for item in range(WARM_ITEMS)])
    shares = []
    for day in (4, 5, 6, 7):  # Friday to Monday of the week after: lists are for the day that follows
        vectors = towers.user_vectors(FIRST + timedelta(days=DAYS + day))[untold()]
        shares.append(weekend[np.argsort(-(vectors @ towers.catalogue[:WARM_ITEMS].T), axis=1)[:, :9]].mean())
    assert min(shares[:2]) > 0.9
    assert max(shares[2:]) < 0.1


def test_who_hides_an_item_gets_little_of_its_group(towers: Trained) -> None:
    hiders = users_of("hide", cold=True)
    assert len(hiders) == 9
    assert share_of_group(towers.everybody, towers.catalogue, hiders) < 0.2 < 1 / GROUPS


def test_what_was_never_seen_keeps_what_its_features_say(towers: Trained) -> None:
    users = [user for user in untold() if told_by(user) != "age"]
    no_ids = towers.user_vectors(unseen=True)
    nothing_but_features = towers.user_vectors(unseen=True, history=False)
    assert share_of_group(no_ids, towers.catalogue, users) > 0.9
    assert share_of_group(nothing_but_features, towers.catalogue, users) > 0.8
    assert share_of_group(towers.everybody, towers.item_vectors(unseen=True), users) > 0.9
    assert np.abs(no_ids - towers.everybody)[users].max(axis=1).min() > 1e-3, "the id said something"
    twins = [user for user in users_of("hobby", cold=True) if group(user) == 0]
    assert nothing_but_features[twins[0]] == pytest.approx(nothing_but_features[users_of("hobby", cold=False)[0]])
