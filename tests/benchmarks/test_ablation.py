"""Which parts can be switched off, what is not trained again, and the table."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from benchmarks import ablation
from benchmarks.ablation import Subject, differences, noise, stored_rows, table
from benchmarks.quality import parts as parts_module
from benchmarks.quality.enriched import BUDGET, DECLARED, LOOK, RATING
from benchmarks.quality.parts import FULL, ITEM_COLUMNS, PARTS, USER_COLUMNS, possible_parts
from recjobs import columns as c
from recjobs.errors import SettingsError
from recjobs.settings import load_settings


@pytest.fixture
def told() -> Iterator[list[str]]:
    """What `benchmarks.quality` logs, heard at its own logger: who listens above it depends on the tests before."""
    logger, messages = logging.getLogger("recjobs.quality"), []
    listener = logging.Handler()
    listener.emit = lambda record: messages.append(record.getMessage())  # type: ignore[method-assign]
    logger.addHandler(listener)
    yield messages
    logger.removeHandler(listener)


def test_parts_without_a_setting_or_a_difference_are_told_and_left_out(
    monkeypatch: pytest.MonkeyPatch, told: list[str]
) -> None:
    parts = {
        "no such thing": {"retrieve.train.telepathy": False},
        "so already": {"retrieve.train.dropout": load_settings("sequences").retrieve.train.dropout},
        "one block": {"retrieve.train.blocks": 1},
        "event of the demo": {"events.types.cart.weight": 1.0},
    }
    monkeypatch.setattr(parts_module, "PARTS", parts)
    found = possible_parts("sequences", {"seed": 3}, list(parts))
    assert found == {FULL: {"seed": 3}, "one block": {"seed": 3, "retrieve.train.blocks": 1}}
    assert [message.split(",")[0] for message in told] == [
        "no such thing: left out",
        "so already: left out",
        "event of the demo: left out",
    ]


def test_a_value_out_of_range_is_no_missing_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts_module, "PARTS", {"broken": {"retrieve.train.dropout": 7}})
    with pytest.raises(SettingsError, match=r"retrieve\.train\.dropout"):
        possible_parts("sequences", {}, ["broken"])


def test_values_can_follow_the_config() -> None:
    halved = possible_parts("sequences", {"retrieve.train.temperature": 0.4}, ["temperature / 2"])
    assert halved["temperature / 2"]["retrieve.train.temperature"] == 0.2
    text = possible_parts("sequences", {}, ["no text"])["no text"]
    assert text == {ITEM_COLUMNS: [c.TITLE, c.DESCRIPTION, "attributes"]}
    declared = possible_parts("marketplace", DECLARED, ["no declared columns of users", "no ready-made vectors"])
    assert declared["no declared columns of users"][USER_COLUMNS] == [BUDGET]
    assert declared["no ready-made vectors"][ITEM_COLUMNS] == [LOOK]
    assert declared[FULL]["items.numeric"] == [RATING]


def test_every_part_that_exists_is_a_valid_setting_of_a_shipped_config() -> None:
    for config in ("sequences", "marketplace"):
        assert len(possible_parts(config, {}, list(PARTS))) > 10


def test_what_was_measured_is_stored_at_once_and_not_measured_again(tmp_path: Path) -> None:
    target, measured = tmp_path / "rows.json", []

    def measure(seed: int, overrides: Mapping[str, Any]) -> dict[str, float]:
        measured.append((seed, overrides["blocks"]))
        assert len(stored_rows(target)) == len(measured) - 1
        return {"ndcg": seed / 100}

    subject = Subject("sequences", lambda seed, overrides: f"{seed}-{overrides['blocks']}", measure)
    for part, seed, blocks in ((FULL, 17, 2), ("one block", 17, 1), (FULL, 18, 2), ("another name", 17, 1)):
        row = ablation._remembered(target, subject, part, seed, {"blocks": blocks})
        assert row.figures == {"ndcg": seed / 100}
    assert measured == [(17, 2), (17, 1), (18, 2)]
    ablation._remembered(target, subject, "one block", 17, {"blocks": 3})
    assert [(row.part, row.seed, row.run) for row in stored_rows(target)] == [
        (FULL, 17, "17-2"),
        (FULL, 18, "18-2"),
        ("one block", 17, "17-3"),
    ], "a row of settings that are no longer the part's is replaced"


def test_differences_are_of_the_same_seed_where_there_is_one() -> None:
    found = {
        FULL: {17: {"ndcg": 0.4}, 18: {"ndcg": 0.2}},
        "same": {17: {"ndcg": 0.5}},
        "other": {19: {"ndcg": 0.5}},
        "both": {17: {"ndcg": 0.4}, 18: {"ndcg": 0.1}},
    }
    less = {part: row["ndcg"] for part, row in differences(found).items()}
    assert less == {"same": pytest.approx(0.1), "other": pytest.approx(0.2), "both": pytest.approx(-0.05)}
    assert noise(found[FULL])["ndcg"] == pytest.approx(0.2)
    assert noise({17: {"ndcg": 0.4}}) == {}


def test_the_table_tells_the_difference_of_the_first_figure() -> None:
    header, rows = table(
        {
            FULL: {17: {"ndcg": 0.4, "recall": 0.5}},
            "one block": {17: {"ndcg": 0.3, "recall": 0.2}, 18: {"ndcg": 0.2, "recall": 0.4}},
        }
    )
    assert header == ["", "ndcg, difference", "of noise", "ndcg", "recall"]
    assert rows[0] == [FULL, 0.0, None, 0.4, 0.5]
    assert rows[1] == ["one block", pytest.approx(-0.15), None, 0.25, pytest.approx(0.3)]
