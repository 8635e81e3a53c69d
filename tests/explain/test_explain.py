"""Answers on a planted night: each way to be on a list, or not, is told as it was."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from click.testing import Result
from typer.testing import CliRunner

from recjobs import columns
from recjobs.cli.app import app
from recjobs.columns import ITEM, ITEM_INDEX, REASON, USER
from recjobs.errors import MissingInputError, SettingsError
from recjobs.explain import answer, wishes
from recjobs.explain.answer import Explanation, explained
from recjobs.explain.finding import COMPOSE, EXTRACT, SCORE, Night, find_night
from recjobs.explain.groups import group_of
from tests.explain.night import EXCLUDED, PLANTED, UNAVAILABLE, planted_night
from tests.planted import planted_settings


@pytest.fixture(scope="module")
def night(tmp_path_factory: pytest.TempPathFactory) -> Night:
    return planted_night(tmp_path_factory.mktemp("explain"))


def all_rows(night: Night, stage: str, *folder: str) -> pl.DataFrame:
    return pl.concat(
        [
            pl.read_parquet(part.uri).with_columns(pl.col(USER).cast(pl.String))
            for part in night.manifests[stage].parts(*folder)
        ]
    )


def told(night: Night, user: str, item: str, **options: Any) -> Explanation:
    return explained(night, user, item, options.pop("surface", "home"), effects=options.pop("effects", False))


def lists_by_user(night: Night) -> dict[str, list[str]]:
    return dict(all_rows(night, COMPOSE, "lists", "home").select(USER, ITEM).iter_rows())


def scored_by_user(night: Night) -> dict[str, list[str]]:
    names = [None, *pl.read_parquet(night.manifests[EXTRACT].uri("items.parquet"))[ITEM].to_list()]
    scored = all_rows(night, SCORE, "scored").select(USER, ITEM_INDEX).iter_rows()
    return {user: [str(names[item]) for item in items] for user, items in scored}


def bought_by_user(night: Night) -> dict[str, set[str]]:
    names = [None, *pl.read_parquet(night.manifests[EXTRACT].uri("items.parquet"))[ITEM].to_list()]
    pairs = all_rows(night, EXTRACT, "users").select(USER, columns.PAIR_ITEM, columns.PAIR_TYPE).iter_rows()
    return {
        user: {str(names[item]) for item, kind in zip(items, kinds, strict=True) if kind == 2}
        for user, items, kinds in pairs
    }


def test_places_are_those_of_the_lists_that_were_written(night: Night) -> None:
    lists = all_rows(night, COMPOSE, "lists", "home").head(4)
    for user, items, reasons in lists.select(USER, ITEM, REASON).iter_rows():
        for place, (item, reason) in enumerate(zip(items, reasons, strict=True), start=1):
            found = told(night, user, item)
            assert (found.replay.place, found.replay.stored_place, found.replay.reason) == (place, place, reason)
            assert found.verdict == f"On the list: place {place} of 5, {reason!r}."


def test_where_a_candidate_fell_out_is_the_rule_that_took_it(night: Night) -> None:
    lists, bought, seen = lists_by_user(night), bought_by_user(night), set()
    for user, candidates in list(scored_by_user(night).items())[:6]:
        for rank, item in enumerate(candidates, start=1):
            if item in lists[user]:
                continue
            found = told(night, user, item)
            assert found.replay.place is None
            assert found.ranking is not None
            assert (found.ranking.rank, found.retrieval.rank) == (rank, rank)
            if item in (UNAVAILABLE, EXCLUDED):
                kind = "May not be shown"
            elif item in bought[user]:
                kind = "Fell out in step no_repeat"
                bought_on = {met.event: met.last for met in found.met}["purchase"]
                assert f"It had a purchase by this user, last on {bought_on}." in found.verdict
            else:
                kind = "Scored too low"
            assert found.verdict.startswith(kind)
            seen.add(kind)
    assert seen == {"May not be shown", "Fell out in step no_repeat", "Scored too low"}


def test_what_may_not_be_shown_says_why(night: Night) -> None:
    user = next(iter(lists_by_user(night)))
    assert told(night, user, EXCLUDED).verdict == "May not be shown: it is named in compose.exclude_items."
    assert told(night, user, UNAVAILABLE).verdict.startswith("May not be shown: it was unavailable on 2026-03-31")
    assert told(night, user, UNAVAILABLE).retrieval.tower_rank is None


def test_what_was_not_retrieved_has_its_place_in_the_towers_order(night: Night) -> None:
    lists = lists_by_user(night)
    for user, candidates in list(scored_by_user(night).items())[:3]:
        group = int(user[1:]) % PLANTED.groups
        for number in range(PLANTED.items):
            item = f"i{number:04d}"
            if item in candidates or item in lists[user] or item in (UNAVAILABLE, EXCLUDED):
                continue
            found = told(night, user, item)
            assert found.ranking is None
            assert found.retrieval.rank is None
            own = [other for other in range(PLANTED.items) if other % 4 == group and f"i{other:04d}" != UNAVAILABLE]
            # Planted vectors are the groups themselves: everything of the own group ties before all else.
            assert found.retrieval.tower_rank == (1 if number % 4 == group else len(own) + 1)
            assert found.verdict.startswith(f"Not retrieved: it is not among the user's {len(candidates)} candidates.")


def test_the_feature_that_decides_is_the_one_that_mattered(night: Night) -> None:
    viewed = told_pair(night)
    found = told(night, *viewed, effects=True)
    assert found.ranking is not None
    first, *others = found.ranking.effects
    assert first.group == "what the user did with the item"
    assert first.log_odds > 0
    assert first.utility > 0
    assert np.allclose([effect.utility for effect in others], 0, atol=1e-6)
    assert {effect.group for effect in found.ranking.effects} > {"place in retrieval", "popularity of the item"}


def told_pair(night: Night) -> tuple[str, str]:
    """A user and a candidate that they viewed."""
    names = [None, *pl.read_parquet(night.manifests[EXTRACT].uri("items.parquet"))[ITEM].to_list()]
    candidates = scored_by_user(night)
    for user, items, kinds in (
        all_rows(night, EXTRACT, "users").select(USER, columns.PAIR_ITEM, columns.PAIR_TYPE).iter_rows()
    ):
        for item, kind in zip(items, kinds, strict=True):
            if kind == 1 and names[item] in candidates[user]:
                return user, str(names[item])
    raise AssertionError("nobody has a candidate that they viewed")


def test_unknown_names_are_told_with_the_fix(night: Night) -> None:
    user = next(iter(lists_by_user(night)))
    with pytest.raises(MissingInputError, match=r"no user 'nobody' on 2026-03-31.*spelling.*--date"):
        told(night, "nobody", "i0001")
    with pytest.raises(MissingInputError, match=r"no item 'i00012' on 2026-03-31.*Did you mean i0012"):
        told(night, user, "i00012")
    with pytest.raises(SettingsError, match=r"--surface email: .* There are: home"):
        told(night, user, "i0001", surface="email")


@pytest.mark.parametrize(
    ("block", "feature", "group"),
    [
        ("pair", "log_pair_view", "what the user did with the item"),
        ("pair", "standard_ease", "the sources' scores"),
        ("pair", "category_cross", "the user and the category"),
        ("item", "log_price", "price of the item"),
        ("item", "item", "which item it is"),
        ("user", "log_count_view_7d", "the user's activity"),
        ("user", "shoe_size", "declared columns of the user"),
    ],
)
def test_groups_of_features(block: str, feature: str, group: str) -> None:
    assert group_of(block, feature) == group


# -- the commands


@pytest.fixture
def asked(night: Night, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """Runs a command that finds the planted night, whatever is asked of it."""

    def find(settings: object, ds: object, run: object) -> Night:  # noqa: ARG001
        return night

    monkeypatch.setattr(answer, "find_night", find)
    monkeypatch.setattr(wishes, "find_night", find)

    def ask(*arguments: str) -> Result:
        return CliRunner().invoke(app, [*arguments], env={"COLUMNS": "200"})

    return ask


def test_the_command_prints_what_was_found(asked: Callable[..., Result], night: Night) -> None:
    user, items = next(iter(lists_by_user(night).items()))
    told_of = asked("explain", user, items[0], "--no-features")
    assert told_of.exit_code == 0
    found = json.loads(asked("explain", user, items[0], "--no-features", "--json").output)
    assert (found["user"], found["item"], found["replay"]["place"]) == (user, items[0], 1)
    assert [stage["step"] for stage in found["replay"]["stages"]][-1] == "reasons"
    assert found["ranking"]["heads"][0]["task"] == "click"


def test_an_unknown_name_is_an_error_of_the_command(asked: Callable[..., Result]) -> None:
    missing = asked("explain", "nobody", "i0001")
    assert isinstance(missing.exception, MissingInputError)
    assert missing.exception.exit_code == 65


def test_ideas_are_printed(asked: Callable[..., Result]) -> None:
    found = json.loads(asked("ideas", "-n", "2", "--json").output)
    assert found["ds"] == "2026-03-31"
    assert all(row["ratio"] > 1 for row in found["ideas"])
    assert asked("ideas").exit_code == 0
    unknown = asked("ideas", "--segment", "country=XX")
    assert isinstance(unknown.exception, MissingInputError)
    assert "There are: all, country=" in str(unknown.exception)


def test_a_night_without_lists_is_told_with_what_there_is(tmp_path: Path) -> None:
    settings = planted_settings(tmp_path)
    with pytest.raises(MissingInputError, match=r"no finished lists of 2026-03-31 .*recjobs run --date 2026-03-31"):
        find_night(settings, date(2026, 3, 31), None)
