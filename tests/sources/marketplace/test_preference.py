"""The truth: it sums up, it is what happens, and knowing it beats popularity by far."""

from __future__ import annotations

from datetime import date, timedelta

import numpy as np
import numpy.typing as npt
import pytest

from recjobs.sources.marketplace.catalogue import catalogue_of
from recjobs.sources.marketplace.config import MarketplaceConfig
from recjobs.sources.marketplace.happenings import CART, KINDS, PURCHASE, VIEW, organic
from recjobs.sources.marketplace.population import population_of
from recjobs.sources.marketplace.preference import EventType, true_preference
from recjobs.sources.marketplace.visits import pool_of, views_of
from recjobs.sources.marketplace.world import day_number

ON = date(2026, 11, 21)
CONFIG = MarketplaceConfig(users=1_000, items=400, events_per_user_day=6.0)


def ids(config: MarketplaceConfig, on: date) -> tuple[list[str], list[str]]:
    day = day_number(on)
    return population_of(config, day).ids().to_pylist(), catalogue_of(config, day).ids().to_pylist()


def truth(config: MarketplaceConfig, on: date, event_type: EventType = "view") -> npt.NDArray[np.float32]:
    return true_preference(config, *ids(config, on), on, event_type)


def test_a_user_s_chances_of_a_view_sum_to_one() -> None:
    chances = truth(CONFIG, ON)
    assert chances.dtype == np.float32
    assert chances.min() >= 0
    assert chances.sum(axis=1) == pytest.approx(np.ones(len(chances)), abs=1e-5)


@pytest.mark.parametrize(("event_type", "kind"), [("view", VIEW), ("cart", CART), ("purchase", PURCHASE)])
def test_what_happens_is_what_the_truth_says(event_type: EventType, kind: int) -> None:
    """Among new items of little, some and much chance, and items come back to: as many events as foretold."""
    expected, happened = np.zeros(4), np.zeros(4)
    for back in range(8):
        on = ON - timedelta(days=back)
        day, chances = day_number(on), truth(CONFIG, on, event_type)
        group = np.digitize(chances / chances.sum(axis=1, keepdims=True), [0.01, 0.05])
        pool = pool_of(CONFIG, day)
        group[np.repeat(np.arange(len(chances)), np.diff(pool.start)), pool.item] = 3
        looked = np.bincount(views_of(CONFIG, day).user, minlength=len(chances))
        events = organic(CONFIG, day)
        chosen = events.kind == kind
        expected += np.bincount(group.ravel(), (chances * looked[:, None]).ravel(), 4)
        happened += np.bincount(group[events.user[chosen], events.item[chosen]], minlength=4)
    # Views of one visit go together (some stay in one category): five times Poisson's variance is allowed for.
    assert (np.abs(happened - expected) < 3 * np.sqrt(5 * expected)).all()
    assert happened == pytest.approx(expected, rel=0.15)


def recall_at_20(scores: npt.NDArray[np.floating], happened: npt.NDArray[np.bool_]) -> float:
    active = happened.any(axis=1)
    best = np.argpartition(-scores, 20, axis=1)[:, :20]
    hits = np.take_along_axis(happened, best, axis=1).sum(axis=1)
    return float((hits[active] / happened.sum(axis=1)[active]).mean())


@pytest.fixture(scope="module")
def recalls() -> dict[str, float]:
    """Recall at 20 of the next day's views by who knows how much, in the marketplace as it ships."""
    config, day = MarketplaceConfig(), day_number(ON)
    users, items = ids(config, ON)
    today = catalogue_of(config, day)
    events = organic(config, day)
    happened = np.zeros((len(users), len(items)), bool)
    happened[events.user, events.item] = True
    popularity = np.zeros(len(items))
    for back in range(1, 15):
        sold = catalogue_of(config, day - back).keys[organic(config, day - back).item]
        popularity += np.bincount(np.searchsorted(today.keys, sold[np.isin(sold, today.keys)]), minlength=len(items))
    yesterday = true_preference(config, users, items, ON - timedelta(days=1))
    return {
        "oracle": recall_at_20(true_preference(config, users, items, ON), happened),
        "yesterday's truth": recall_at_20(yesterday, happened),
        "popularity": recall_at_20(np.broadcast_to(popularity, happened.shape), happened),
    }


def test_popularity_is_decent(recalls: dict[str, float]) -> None:
    assert 0.08 < recalls["popularity"] < 0.25


def test_there_is_far_more_to_learn_than_popularity(recalls: dict[str, float]) -> None:
    assert recalls["oracle"] > 3 * recalls["popularity"]
    assert recalls["yesterday's truth"] > 2.5 * recalls["popularity"]


def test_without_taste_users_differ_little() -> None:
    alike = CONFIG.model_copy(update={"taste_strength": 0.0, "style_strength": 0.0, "interest_share": 0.0})

    def spread(config: MarketplaceConfig) -> float:
        chances = truth(config.model_copy(update={"return_share": 0.0}), ON).astype(np.float64)
        return float(np.mean(np.abs(chances - chances.mean(axis=0)).sum(axis=1)) / 2)

    assert spread(alike) < 0.65 * spread(CONFIG)


def test_who_and_what_is_not_there_has_no_chance() -> None:
    users, items = ids(CONFIG, ON)
    asked = [users[3], "u999999999", "somebody", "", users[0]]
    chances = true_preference(CONFIG, asked, [items[5], "i999999999", "u12", items[2]], ON)
    everyone = truth(CONFIG, ON)
    assert chances[[0, 4]][:, [0, 3]].tolist() == everyone[[3, 0]][:, [5, 2]].tolist()
    assert not chances[[1, 2, 3]].any()
    assert not chances[:, [1, 2]].any()


def test_what_is_out_of_stock_has_no_chance() -> None:
    out = ~catalogue_of(CONFIG, day_number(ON)).available
    assert 0 < out.sum() < 0.1 * len(out)
    assert not truth(CONFIG, ON)[:, out].any()


def test_nobody_asked_gives_an_empty_array() -> None:
    assert true_preference(CONFIG, [], ["i1"], ON).shape == (0, 1)
    assert true_preference(CONFIG, ["u1"], [], ON).shape == (1, 0)


def test_kinds_are_the_event_types_of_the_truth() -> None:
    assert KINDS == ("view", "cart", "purchase")
