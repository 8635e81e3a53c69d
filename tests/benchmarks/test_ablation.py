"""Which parts can be switched off, and the table."""

from __future__ import annotations

import logging

import pytest

from benchmarks import ablation
from benchmarks.ablation import FULL, PARTS, possible_parts, table
from recjobs.errors import SettingsError
from recjobs.settings import load_settings


def test_parts_without_a_setting_or_a_difference_are_told_and_left_out(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    parts = {
        "no such thing": {"retrieve.train.telepathy": False},
        "so already": {"retrieve.train.dropout": load_settings("sequences").retrieve.train.dropout},
        "one block": {"retrieve.train.blocks": 1},
        "event of the demo": {"events.types.cart.weight": 1.0},
    }
    monkeypatch.setattr(ablation, "PARTS", parts)
    logger = logging.getLogger("recjobs.quality")
    monkeypatch.setattr(logging.getLogger("recjobs"), "propagate", True)
    with caplog.at_level(logging.WARNING, logger.name):
        found = possible_parts("sequences", {"seed": 3}, list(parts))
    assert found == {FULL: {"seed": 3}, "one block": {"seed": 3, "retrieve.train.blocks": 1}}
    assert [message.split(",")[0] for message in caplog.messages] == [
        "no such thing: left out",
        "so already: left out",
        "event of the demo: left out",
    ]


def test_a_value_out_of_range_is_no_missing_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ablation, "PARTS", {"broken": {"retrieve.train.dropout": 7}})
    with pytest.raises(SettingsError, match=r"retrieve\.train\.dropout"):
        possible_parts("sequences", {}, ["broken"])


def test_values_can_follow_the_config() -> None:
    halved = possible_parts("sequences", {"retrieve.train.temperature": 0.4}, ["temperature / 2"])
    assert halved["temperature / 2"]["retrieve.train.temperature"] == 0.2
    without = possible_parts("sequences", {}, ["no declared texts"])["no declared texts"]
    assert without == {"items.text": [], "items.static": []}
    assert list(possible_parts("marketplace", {}, ["no item content (no snapshot)"])) == [
        FULL,
        "no item content (no snapshot)",
    ]


def test_every_part_that_exists_is_a_valid_setting_of_a_shipped_config() -> None:
    for config in ("sequences", "marketplace"):
        assert len(possible_parts(config, {}, list(PARTS))) > 10


def test_the_table_tells_the_difference_of_the_first_figure() -> None:
    header, rows = table(
        {
            FULL: [{"ndcg": 0.4, "recall": 0.5}],
            "one block": [{"ndcg": 0.3, "recall": 0.2}, {"ndcg": 0.2, "recall": 0.4}],
        }
    )
    assert header == ["", "ndcg, difference", "ndcg", "recall"]
    assert rows[0] == [FULL, 0.0, 0.4, 0.5]
    assert rows[1] == ["one block", pytest.approx(-0.15), 0.25, pytest.approx(0.3)]
