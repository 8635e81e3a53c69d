"""The gate is seen to refuse: lists spoilt in each way fail the check of that name, and no other."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from recjobs import columns, storage
from recjobs.columns import ITEM, REASON, SCORE, SEGMENT, USER
from recjobs.compose import stage as compose
from recjobs.errors import CorruptFileError, GateRefusedError
from recjobs.evaluate import stage
from recjobs.evaluate.judging import judged_items
from recjobs.manifest import Inputs, Manifest
from recjobs.settings import Settings
from tests.compose.planted_candidates import output, planted_inputs
from tests.evaluate.planted_nights import COMPOSE_SECTIONS, EVALUATE_SECTIONS, copied
from tests.planted import Planted, planted_extract, planted_settings

SMALL = Planted(users=24, items=12, events_per_user=6)
Spoil = Callable[[pl.DataFrame], pl.DataFrame]


Night = tuple[Settings, Inputs]


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Night]:
    folder = tmp_path_factory.mktemp("night")
    surfaces = {"home": {"length": 5, "no_repeat": ["purchase"]}}
    settings = planted_settings(folder, SMALL, compose__exclude_items=["i0011"], compose__surfaces=surfaces)
    extract = planted_extract(folder, SMALL, sequences=False)
    inputs = planted_inputs(folder, extract, settings, candidates=8)
    lists = compose.run(inputs, settings.view(COMPOSE_SECTIONS), output(folder, "compose", inputs))
    return folder, (settings, Inputs(extract.ds, extract.cutoffs, {"extract": extract, "compose": lists}))


@pytest.fixture
def night(tmp_path: Path, planted: tuple[Path, Night]) -> Night:
    """Tonight's lists, nothing wrong with them."""
    folder, (settings, inputs) = planted
    return settings, copied(inputs, folder, tmp_path / "night")


def evaluated(tmp_path: Path, night: Night) -> Manifest:
    settings, inputs = night
    return stage.run(inputs, settings.view(EVALUATE_SECTIONS), output(tmp_path, "evaluate", inputs))


def failed(tmp_path: Path, night: Night) -> list[str]:
    """The names of the checks that refuse."""
    settings, inputs = night
    items = judged_items(inputs["extract"], settings)
    _, checks = stage.gated(inputs, settings, items, output(tmp_path, "evaluate", inputs))
    return [check.name for check in checks if not check.passed and check.severity == "refuse"]


def first(column: str, value: object) -> Spoil:
    """Sets the first row's cell."""
    return lambda lists: pl.concat(
        [lists[:1].with_columns(pl.Series(column, [value], dtype=lists.schema[column])), lists[1:]]
    )


def places(column: str, change: Callable[[list], list]) -> Spoil:  # type: ignore[type-arg]
    """Changes the first row's list."""
    return lambda lists: first(column, change(lists[column][0].to_list()))(lists)


def shorten(lists: pl.DataFrame) -> pl.DataFrame:
    return pl.concat([lists[:1].with_columns(pl.col(ITEM, SCORE, REASON).list.head(4)), lists[1:]])


SPOILT = {
    "home: every user has one list": [
        lambda lists: lists[1:],
        lambda lists: pl.concat([lists, lists[:1]]),
        first(USER, "stranger"),
        lambda lists: pl.concat([lists, first(USER, "a list of nobody")(lists[:1])]),
    ],
    "home: lists are full": [shorten],
    "home: columns line up": [places(SCORE, lambda scores: scores[:-1])],
    "home: no duplicates": [places(ITEM, lambda items: [*items[:-1], items[0]])],
    "home: nothing ineligible": [
        places(ITEM, lambda items: [*items[:-1], "i0011"]),
        places(ITEM, lambda items: [*items[:-1], "unheard of"]),
    ],
    "home: scores are finite": [
        places(SCORE, lambda scores: [*scores[:-1], float("nan")]),
        places(SCORE, lambda scores: [*scores[:-1], None]),
    ],
    "home: scores do not rise": [places(SCORE, lambda scores: [*scores[:-1], scores[0] + 1])],
    "home: every item has a reason": [places(REASON, lambda reasons: [*reasons[:-1], ""])],
}


@pytest.mark.parametrize(("name", "spoil"), [(name, spoil) for name, ways in SPOILT.items() for spoil in ways])
def test_spoilt_lists_are_refused(tmp_path: Path, night: Night, name: str, spoil: Spoil) -> None:
    uri = night[1]["compose"].parts("lists", "home")[0].uri
    spoil(pl.read_parquet(uri)).write_parquet(uri)
    assert failed(tmp_path, night) == [name]


@pytest.mark.parametrize("score", [None, float("nan")])
def test_a_refusal_fails_the_run_and_leaves_its_report(tmp_path: Path, night: Night, score: float | None) -> None:
    uri = night[1]["compose"].parts("lists", "home")[0].uri
    places(SCORE, lambda scores: [score, *scores[1:]])(pl.read_parquet(uri)).write_parquet(uri)
    done = evaluated(tmp_path, night)
    assert json.loads(storage.read_bytes(done.uri("verdict.json")))["passed"] is False
    with pytest.raises(GateRefusedError, match=r"refused: home: scores are finite: 1 scores that are missing"):
        done.raise_if_refused()
    assert "refuses tonight" in storage.read_bytes(done.uri("report.html")).decode()


def test_a_repeat_is_refused(tmp_path: Path, night: Night) -> None:
    extract = night[1]["extract"]
    names = pl.read_parquet(extract.uri("items.parquet")).select(
        ITEM, pl.col(columns.ITEM_INDEX).alias(columns.PAIR_ITEM)
    )
    states = pl.read_parquet(extract.parts("users")[0].uri)
    flat = states.explode(columns.PAIR_ITEM, columns.PAIR_TYPE).join(names, on=columns.PAIR_ITEM)
    bought = flat.filter((pl.col(columns.PAIR_TYPE) == 2) & (pl.col(ITEM) != "i0011")).sort(USER, ITEM)
    user, item = bought.select(USER, ITEM).row(0)
    uri = night[1]["compose"].parts("lists", "home")[0].uri
    lists = pl.read_parquet(uri)
    at = lists[USER].to_list().index(user)
    spoilt = first(ITEM, [item, *lists[ITEM][at].to_list()[1:]])(lists[at:])
    pl.concat([lists[:at], spoilt]).write_parquet(uri)
    assert failed(tmp_path, night) == ["home: no repeats"]


def test_lists_without_fault_pass(tmp_path: Path, night: Night) -> None:
    done = evaluated(tmp_path, night)
    done.raise_if_refused()
    assert done.notes == ("nothing to judge yet: no lists of 2026-03-30",)
    assert json.loads(storage.read_bytes(done.uri("metrics.json"))) == []
    assert json.loads(storage.read_bytes(done.uri("verdict.json")))["passed"] is True
    assert done.rows == {"users": 24, "metrics": 0}
    assert done.metrics == {"coverage tonight/home": 1.0}


def test_a_missing_part_and_a_strange_one_are_refused(tmp_path: Path, night: Night) -> None:
    part = Path(night[1]["compose"].parts("lists", "home")[0].uri)
    part.rename(part.with_name(columns.part_name(7)))
    assert failed(tmp_path, night) == ["home: every user has one list", "home: no parts of other shards"]


def test_a_file_that_holds_no_lists_is_named(tmp_path: Path, night: Night) -> None:
    uri = night[1]["compose"].parts("lists", "home")[1].uri
    pl.read_parquet(uri).drop(REASON).write_parquet(uri)
    with pytest.raises(CorruptFileError, match=r"part-00001\.parquet has columns .* Run compose again"):
        evaluated(tmp_path, night)


def test_users_that_extract_did_not_count_are_refused(tmp_path: Path, night: Night) -> None:
    settings, inputs = night
    extract = inputs["extract"].model_copy(update={"rows": {"users": 25}})
    manifests = {**inputs.manifests, "extract": extract}
    counted = Inputs(inputs.ds, inputs.cutoffs, manifests)
    assert failed(tmp_path, (settings, counted)) == ["users are those of extract"]


@pytest.mark.parametrize(
    ("folder", "name", "spoil"),
    [
        (("segments", "home"), "home: segments have all", lambda rows: rows.filter(pl.col(SEGMENT) != "all")),
        (("segments", "home"), "home: segments are distinct", lambda rows: pl.concat([rows, rows[:1]])),
        (
            ("segments", "home"),
            "home: segment lists are full",
            lambda rows: rows.with_columns(pl.col(ITEM).list.head(4)),
        ),
        (
            ("segments", "home"),
            "home: segment lists have no duplicates",
            places(ITEM, lambda items: [*items[:-1], items[0]]),
        ),
        (
            ("segments", "home"),
            "home: segment lists have nothing ineligible",
            places(ITEM, lambda items: [*items[:-1], "i0011"]),
        ),
        (
            ("items",),
            "similar items are distinct",
            places(columns.SIMILAR_ITEM, lambda items: [items[0], items[0]]),
        ),
        (("items",), "similar items are eligible", places(columns.SIMILAR_ITEM, lambda _: ["i0011"])),
        (
            ("items",),
            "no item is similar to itself",
            lambda rows: first(columns.SIMILAR_ITEM, [rows[ITEM][0]])(rows),
        ),
        (("items",), "one list for each item", lambda rows: pl.concat([rows, rows[:1]])),
    ],
)
def test_spoilt_segment_and_item_lists_are_refused(
    tmp_path: Path, night: Night, folder: tuple[str, ...], name: str, spoil: Spoil
) -> None:
    uri = night[1]["compose"].uri(*folder, columns.part_name(0))
    spoil(pl.read_parquet(uri).sort(ITEM if folder == ("items",) else SEGMENT)).write_parquet(uri)
    assert failed(tmp_path, night) == [name]
