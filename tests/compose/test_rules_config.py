"""What settings refuse before any item is looked at."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from recjobs.compose.config import ComposeConfig
from recjobs.compose.rules_config import Pin, Range, Repeat, Rules
from tests.compose.shelves import config_of


def test_a_range_has_an_end_and_the_right_way_round() -> None:
    with pytest.raises(ValidationError, match="a range needs min, max or both"):
        Range()
    with pytest.raises(ValidationError, match="min 3 is above max 2"):
        Range(min=3, max=2)


@pytest.mark.parametrize(("repeat", "days"), [("after", 0), ("never", 3), ("always", 3)])
def test_days_belong_to_after(repeat: str, days: int) -> None:
    with pytest.raises(ValidationError, match="days belongs to repeat = 'after'"):
        Repeat.model_validate({"event_types": ["view"], "repeat": repeat, "days": days})


def test_a_place_is_given_once_and_lies_in_the_list() -> None:
    pin = {"pin": [{"item": "i1", "place": 3}]}
    with pytest.raises(ValidationError, match="surface 'home': place 3 is pinned or explored twice"):
        config_of(rules=pin, home={"rules": {"pin": [{"item": "i2", "place": 3}]}})
    with pytest.raises(ValidationError, match="place 3 is pinned or explored twice"):
        config_of(rules=pin, home={"explore": {"share": 0.1, "places": [3]}})
    with pytest.raises(ValidationError, match="place 6 is not in a list of 5"):
        config_of(home={"length": 5, "explore": {"share": 0.1, "places": [6]}})


def test_settings_come_back_from_their_dump() -> None:
    where = {"brand": ["A"], "price": {"max": 3}, "available": True, "stock": 4}
    config = config_of(rules={"exclude": [{"where": where}], "pin": [{"item": "i1", "place": 2}]})
    assert ComposeConfig.model_validate(config.model_dump(mode="json")) == config
    assert config.rules.exclude[0].where["available"] is True
    assert config.rules.pin == [Pin(item="i1", place=2)]


def test_a_surfaces_own_repeat_rules_come_first() -> None:
    never = Repeat(event_types=["view"], repeat="never")
    always = Repeat(event_types=["view"], repeat="always")
    assert Rules(repeat=[never]).then(Rules(repeat=[always])).repeat == [always, never]
