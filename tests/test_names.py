"""Names in settings that stand for nothing are refused before a run, by the lists that its stages go by."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from recjobs.cli.doctor import examine
from recjobs.errors import SettingsError
from recjobs.extract.job import Job
from recjobs.extract.users import user_schema
from recjobs.manifest import cutoffs_of
from recjobs.names import check_names, segment_columns, tower_user_columns
from recjobs.plan import plan_run
from recjobs.settings import SHIPPED, Settings, load_settings
from recjobs.sources.config import UsersSource
from tests.planned import DS, open_shop
from tests.planted import planted_settings

WRONG: list[tuple[dict[str, Any], list[str]]] = [
    (
        {"compose__segment_by": ["contry"]},
        [
            "compose.segment_by names 'contry'",
            "Did you mean 'country'?",
            "Known: country, region,",
            "users.categorical",
        ],
    ),
    (
        {"retrieve__search__sources__segment__by": ["town"]},
        ["retrieve.search.sources.segment.by names 'town'", "age_band", "plan"],
    ),
    (
        {"retrieve__train__ignored_item_columns": ["colour"]},
        ["retrieve.train.ignored_item_columns names 'colour'", "Known: title,", "created_at, size", "leave it out"],
    ),
    (
        {"retrieve__train__ignored_user_columns": ["ageband"]},
        ["retrieve.train.ignored_user_columns names 'ageband'", "Did you mean 'age_band'?", "interests, plan, tenure"],
    ),
    (
        {"compose__surfaces": {"home": {"no_repeat": ["buy"]}}},
        ["compose.surfaces.home.no_repeat names 'buy', which is no event type", "Known: view, purchase"],
    ),
    ({"rank__train__utility": {"clicks": 1.0}}, ["rank.train.utility names 'clicks'", "Known: click, purchase"]),
    ({"evaluate__outcome_types": ["sale"]}, ["evaluate.outcome_types names 'sale'"]),
]
DECLARED = {
    "users": {"path": "u", "categorical": ["plan", "signup_at"], "numeric": ["tenure"], "text": ["about", "region"]},
    "items": {
        "path": "i",
        "categorical": ["size", "brand"],
        "numeric": ["rating"],
        "text": ["blurb"],
        "vectors": ["look"],
    },
}


def settings_of(folder: Path, **overrides: Any) -> Settings:
    return planted_settings(folder, **DECLARED, **overrides)


@pytest.mark.parametrize(("overrides", "said"), WRONG, ids=lambda value: next(iter(value), ""))
def test_a_wrong_name_is_told_with_the_known_ones_and_the_fix(
    tmp_path: Path, overrides: dict[str, Any], said: list[str]
) -> None:
    with pytest.raises(SettingsError) as caught:
        check_names(settings_of(tmp_path, **overrides))
    assert [part for part in said if part not in str(caught.value)] == []
    assert len(str(caught.value).splitlines()) == 1


def test_all_wrong_names_are_told_at_once(tmp_path: Path) -> None:
    wrong = {"compose__segment_by": ["a", "country", "b"], "evaluate__outcome_types": ["sale"]}
    with pytest.raises(SettingsError) as caught:
        check_names(settings_of(tmp_path, **wrong))
    assert [line.split(",")[0] for line in str(caught.value).splitlines()] == [
        "compose.segment_by names 'a'",
        "compose.segment_by names 'b'",
        "evaluate.outcome_types names 'sale'",
    ]


def test_right_names_and_the_segments_of_a_source_that_is_off_pass(tmp_path: Path) -> None:
    right = {
        "compose__segment_by": ["plan", "n_events"],
        "retrieve__train__ignored_item_columns": ["size", "price"],
        "retrieve__train__ignored_user_columns": ["tenure", "interests"],
        "retrieve__search__sources__segment": {"quota": 0, "by": ["town"]},
    }
    check_names(settings_of(tmp_path, **right))


@pytest.mark.parametrize("path", sorted(SHIPPED.glob("*.toml")), ids=lambda path: path.stem)
def test_the_names_in_shipped_configs_are_right(path: Path) -> None:
    check_names(load_settings(path.stem))


def test_nothing_is_planned_with_a_wrong_name(tmp_path: Path) -> None:
    config = open_shop(tmp_path)
    with pytest.raises(SettingsError, match=r"compose\.segment_by names 'contry'"):
        plan_run(config, DS, {"compose.segment_by": ["contry"]})
    assert not (tmp_path / "artefacts").exists()


def test_doctor_refuses_a_wrong_name(tmp_path: Path) -> None:
    config = open_shop(tmp_path)
    nowhere = "database.url=postgresql://app@127.0.0.1:1/app"
    found = {one.name: one for one in examine(config, [nowhere, 'compose.segment_by=["contry"]'])}
    assert (found["config"].passed, found["names"].passed) == (True, False)
    assert "compose.segment_by names 'contry'" in found["names"].detail
    assert {one.name: one for one in examine(config, [nowhere])}["names"].passed


def test_segments_are_made_by_the_columns_that_user_states_have_one_value_of(tmp_path: Path) -> None:
    settings = settings_of(tmp_path)
    made = Job(DS, cutoffs_of(DS, train_lag_days=0, history_lag_days=0, label_days=1), "", settings)
    counts = [name for name in user_schema(made).names if name.startswith("count_")]
    single = {field.name for field in user_schema(made) if not pa.types.is_list(field.type)}
    assert set(segment_columns(settings.users, counts)) == single


def test_towers_can_ignore_just_the_columns_of_users_that_they_would_read(tmp_path: Path) -> None:
    from recjobs.retrieve.train.known_users import known_users
    from tests.retrieve.train.test_known_users import shard, states_of

    users = UsersSource(**DECLARED["users"])
    states = states_of(tmp_path, [shard([1], [1.0], [[4]])])
    told = tower_user_columns(users)
    known_users(states, users, ignored=told)
    with pytest.raises(SettingsError, match=r"Known: (.*)\.$") as caught:
        known_users(states, users, ignored=["nothing"])
    assert set(str(caught.value).split("Known: ")[1].rstrip(".").split(", ")) == set(told)
