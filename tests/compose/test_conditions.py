"""Which items a rule means, against reading it aloud; and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recjobs.compose.conditions import item_kinds, matching, require_rules
from recjobs.compose.rules_config import Filter, Range
from recjobs.errors import SettingsError
from tests.compose.shelves import config_of, items_of

ITEMS = items_of(
    [
        {"category": "drinks/wine", "brand": "Acme", "price": 5.0, "age": 3},
        {"category": "drinks", "brand": "Bolt", "price": 20.0, "age": 30},
        {"category": "drinkware", "brand": "Acme", "price": 7.5},
        {"brand": "Acme", "age": 3},
        {},
    ]
)
KINDS = item_kinds(ITEMS.to_arrow().schema)
CODES = {"view": 1, "purchase": 2}


def met(**where: object) -> list[int]:
    parsed = Filter.model_validate({"where": where}).where
    return (np.flatnonzero(matching(parsed, ITEMS)) + 1).tolist()


def test_a_category_is_itself_and_all_below_it() -> None:
    assert met(category="drinks") == [1, 2]
    assert met(category="drinks/") == [1, 2]
    assert met(category=["drinks/wine", "drinkware"]) == [1, 3]


def test_values_lists_ranges_and_several_columns() -> None:
    assert met(brand="Acme") == [1, 3, 4]
    assert met(brand=["Acme", "Bolt"], price={"max": 7.5}) == [1, 3]
    assert met(price=20) == [2]
    assert met(price=[5, 7.5]) == [1, 3]
    assert met(price={"min": 5, "max": 5}) == [1]
    assert met(item_id="i5") == [5]
    assert met(available=True) == [1, 2, 3, 4, 5]
    assert met(age_days={"max": 3}) == [1, 4]
    assert met(age_days={"min": 3.5}) == [2]


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.sampled_from(["a", "a/b", "a/b/c", "ab", None]), min_size=1, max_size=8),
    st.lists(st.one_of(st.none(), st.integers(0, 5)), min_size=8, max_size=8),
    st.sampled_from(["a", "a/b", "ab"]),
    st.integers(0, 5),
    st.integers(0, 5),
)
def test_a_condition_is_met_as_read_aloud(
    categories: list[str | None], prices: list[int | None], path: str, low: int, more: int
) -> None:
    rows = [{"category": one, "price": price} for one, price in zip(categories, prices, strict=False)]
    found = matching({"category": path, "price": Range(min=low, max=low + more)}, items_of(rows))
    for row, hit in zip(rows, found, strict=True):
        below = row["category"] is not None and (str(row["category"]) + "/").startswith(path + "/")
        within = row["price"] is not None and low <= row["price"] <= low + more
        assert hit == (below and within)


def refusal(**sections: object) -> str:
    with pytest.raises(SettingsError) as error:
        require_rules(config_of(**sections), KINDS, ITEMS, CODES)
    return str(error.value)


def test_an_unknown_column_is_refused_with_the_known_ones() -> None:
    message = refusal(rules={"exclude": [{"name": "x", "where": {"brnd": "Acme"}}]})
    assert message.startswith("compose.rules.exclude 1 (x) names 'brnd', which is no column of items")
    assert "Did you mean 'brand'?" in message
    assert "'age_days', 'available', 'brand', 'category'" in message
    assert "surfaces.home.rules.cap 1 names 'sellr'" in refusal(
        home={"rules": {"cap": [{"column": "sellr", "at_most": 1}]}}
    )


def test_a_value_that_no_item_has_is_refused_with_the_known_ones() -> None:
    message = refusal(rules={"boost": [{"where": {"brand": ["Bolt", "Acne"]}, "multiply": 2}]})
    assert "compose.rules.boost 1: no item has brand 'Acne'. Did you mean 'Acme'? Known: Acme, Bolt." in message
    assert "no item has category 'drink'. Did you mean 'drinks'? Known: drinks, drinks/wine, drinkware." in refusal(
        rules={"include": [{"where": {"category": "drink"}}]}
    )
    assert "pin 1: no item has item_id 'i9'." in refusal(home={"rules": {"pin": [{"item": "i9", "place": 1}]}})


def test_values_may_be_let_pass_but_columns_not() -> None:
    rules = {"exclude": [{"where": {"brand": "Zeta"}}]}
    notes = require_rules(config_of(rules=rules, unknown_values="warn"), KINDS, ITEMS, CODES)
    assert len(notes) == 1
    assert notes[0].startswith("compose.rules.exclude 1: no item has brand 'Zeta'.")
    assert "no column" in refusal(rules={"exclude": [{"where": {"colour": "red"}}]}, unknown_values="warn")


@pytest.mark.parametrize(
    ("where", "said"),
    [
        ({"price": "cheap"}, r"'price' can't be 'cheap': it holds a number"),
        ({"brand": {"min": 1}}, r"'brand' can't be a range: it holds text"),
        ({"brand": True}, r"'brand' can't be True: it holds text"),
        ({"available": "yes"}, r"'available' can't be 'yes': it holds true or false"),
    ],
)
def test_a_value_of_another_kind_is_refused(where: dict[str, object], said: str) -> None:
    assert said in refusal(rules={"exclude": [{"where": where}]})


def test_an_unknown_event_type_is_refused() -> None:
    repeat = {"event_types": ["buy"], "repeat": "always"}
    assert "repeat 1 names 'buy', which is no event type; [events.types] has ['purchase', 'view']" in refusal(
        rules={"repeat": [repeat]}
    )


def test_rules_without_fault_pass() -> None:
    rules = {"exclude": [{"where": {"category": "drinks/wine", "age_days": {"max": 2}}}]}
    assert require_rules(config_of(rules=rules), KINDS, ITEMS, CODES) == []
