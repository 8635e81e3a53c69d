"""The whole stage on two planted nights: what it says of the earlier lists, and what it may not look at."""

from __future__ import annotations

import base64
import json
import re
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest

from recjobs import columns, storage
from recjobs.columns import ITEM, TIMESTAMP, TITLE, USER
from recjobs.evaluate import stage
from recjobs.evaluate.contribution import is_told, judge_sources
from recjobs.evaluate.judging import RECJOBS, judge, judged_items, outcome_types
from recjobs.evaluate.outcomes import read_outcomes
from recjobs.manifest import Check, Inputs, Manifest
from recjobs.settings import Settings
from tests.compose.planted_candidates import output
from tests.evaluate.planted_nights import EVALUATE_SECTIONS, copied, planted_nights

Nights = tuple[Settings, Inputs]


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Nights]:
    folder = tmp_path_factory.mktemp("nights")
    return folder, planted_nights(folder)


@pytest.fixture
def nights(tmp_path: Path, planted: tuple[Path, Nights]) -> Nights:
    folder, (settings, inputs) = planted
    return settings, copied(inputs, folder, tmp_path / "nights")


def evaluated(tmp_path: Path, nights: Nights) -> Manifest:
    settings, inputs = nights
    return stage.run(inputs, settings.view(EVALUATE_SECTIONS), output(tmp_path, "evaluate", inputs))


def rows_of(done: Manifest) -> list[dict[str, object]]:
    return list(json.loads(storage.read_bytes(done.uri("metrics.json"))))


def test_planted_tastes_beat_popularity(tmp_path: Path, nights: Nights) -> None:
    done = evaluated(tmp_path, nights)
    assert done.metrics["recall@10/recjobs"] > 3 * done.metrics["recall@10/popularity"]
    assert done.metrics["recall_low@10/difference"] > 0
    assert done.metrics["users judged"] == 63
    rows = rows_of(done)
    assert set(rows[0]) == {"ds", "judged", "until", "surface", "list", "metric", "k", "value", "users"}
    assert {(row["ds"], row["judged"], row["until"]) for row in rows} == {("2026-03-31", "2026-03-30", "2026-03-31")}
    by_key = {(row["list"], row["metric"], row["k"]): row["value"] for row in rows}
    assert by_key[RECJOBS, "recall", 10] == done.metrics["recall@10/recjobs"]
    assert done.rows["metrics"] == len(rows)


def test_the_same_rows_by_hand_and_twice(tmp_path: Path, nights: Nights) -> None:
    settings, inputs = nights
    done = evaluated(tmp_path, nights)
    again = evaluated(tmp_path / "again", nights)
    for name in ("metrics.json", "sources.json", "verdict.json", "report.html"):
        assert storage.read_bytes(done.uri(name)) == storage.read_bytes(again.uri(name)), name
    lists, states = inputs["judged/compose"], inputs["judged/extract"]
    events = [part.uri for part in inputs["extract"].parts("events")]
    outcomes = read_outcomes(events, outcome_types(settings), lists.ds, inputs.ds)
    by_hand = judge(lists, states, outcomes, settings, inputs.ds)
    assert [row["value"] for row in by_hand] == pytest.approx([row["value"] for row in rows_of(done)])


def test_the_towers_curves_are_in_the_report_where_there_are_any(tmp_path: Path, nights: Nights) -> None:
    settings, inputs = nights
    without = evaluated(tmp_path / "without", nights)
    page = storage.read_bytes(without.uri("report.html")).decode()
    assert "<h2>Towers</h2>" not in page
    assert "<h2>Candidates</h2>" not in page
    assert json.loads(storage.read_bytes(without.uri("sources.json"))) == []
    out = output(tmp_path / "towers", "retrieve/train", inputs)
    storage.write_bytes(out.uri("curves.png"), b"a picture")
    metrics = {"epochs": 9.0, "best_epoch": 6.0, "validation_recall": 0.125, "validation_ndcg": 0.0625}
    trained = out.manifest(rows={"windows": 321}, metrics=metrics)
    told = evaluated(
        tmp_path / "with", (settings, replace(inputs, manifests={**inputs.manifests, "retrieve/train": trained}))
    )
    page = storage.read_bytes(told.uri("report.html")).decode()
    assert f"base64,{base64.b64encode(b'a picture').decode()}" in page
    assert re.search(
        r"321 windows, 9 epochs\.\s+On the held-out days recall was 0\.1250 and NDCG\s+0\.0625 at epoch 6", page
    )


def search_of(tmp_path: Path, inputs: Inputs, states: Manifest, **metrics: float) -> Manifest:
    """A finished search whose towers propose item 1 to everybody, and co-occurrence items 1 and 2."""
    out = output(tmp_path, "retrieve/search", inputs)
    both, second = (
        sum(columns.source_bit(name) for name in names) for names in (("towers", "cooccurrence"), ("cooccurrence",))
    )
    for part in states.parts("users"):
        users = pl.read_parquet(part.uri, columns=[USER])
        lists = {columns.ITEM_INDEX: [[1, 2]] * users.height, columns.SOURCE: [[both, second]] * users.height}
        Path(out.uri("candidates")).mkdir(parents=True, exist_ok=True)
        schema = {columns.ITEM_INDEX: pl.List(pl.Int32), columns.SOURCE: pl.List(pl.Int16)}
        users.with_columns(pl.Series(name, lists[name], kind) for name, kind in schema.items()).write_parquet(
            out.uri("candidates", part.name)
        )
    floor = Check(name="recall", passed=True, value=0.991, limit=0.98, detail="")
    timings = {"index_build": 14.25, "search": 2.0, "total": 99.0}
    return out.manifest(rows={"users": 120, "searched_items": 40}, metrics=metrics, timings=timings, checks=[floor])


def test_the_report_says_how_candidates_were_searched_and_what_sources_were_worth(
    tmp_path: Path, nights: Nights
) -> None:
    settings, inputs = nights
    told = {"candidates": 2, "recall": 0.991, "users_per_second": 1234.5, "search_users_per_second": 5678.9}
    told |= {"scann": 1, "index_leaves": 32, "searched_leaves": 4, "reordered": 200}
    told |= {"share_towers": 0.5, "share_cooccurrence": 1.0, "alone_cooccurrence": 0.5}
    searches = {
        "retrieve/search": search_of(tmp_path / "tonight", inputs, inputs["extract"], **told),
        "judged/retrieve/search": search_of(tmp_path / "then", inputs, inputs["judged/extract"]),
    }
    done = evaluated(tmp_path / "with", (settings, replace(inputs, manifests={**inputs.manifests, **searches})))
    page = " ".join(storage.read_bytes(done.uri("report.html")).decode().split())
    assert "2 for each of 120 users out of 40 items, by ScaNN, its index built in 14.2 s (4 of 32 leaves" in page
    assert "Recall at 2 beside exact search: 0.9910, the floor is 0.98." in page
    assert "1,234 users/s over the whole stage, 5,679 in search and mixing alone." in page
    assert "99.00" not in page
    by_source = {row["source"]: row for row in json.loads(storage.read_bytes(done.uri("sources.json")))}
    items = pl.read_parquet(inputs["judged/extract"].uri("items.parquet")).sort(columns.ITEM_INDEX)[ITEM]
    events = pl.concat([pl.read_parquet(part.uri) for part in inputs["extract"].parts("events")])
    today = events.filter(pl.col(TIMESTAMP).dt.date() == inputs.ds).select(USER, ITEM).unique()
    first, second = (pl.col(ITEM) == items[place] for place in (0, 1))
    shares = today.group_by(USER).agg(one=first.mean(), either=(first | second).mean())
    assert by_source["cooccurrence"]["recall"] == pytest.approx(shares["either"].mean())
    assert by_source["towers"]["recall"] == pytest.approx(shares["one"].mean())
    assert by_source["towers"]["recall_alone"] == by_source["new"]["recall"] == 0
    assert by_source["towers"]["users"] == done.metrics["users judged"] == 63
    assert (by_source["all"]["judged"], by_source["all"]["until"]) == ("2026-03-30", "2026-03-31")
    lists, states = inputs["judged/compose"], inputs["judged/extract"]
    events_of = [part.uri for part in inputs["extract"].parts("events")]
    outcomes = read_outcomes(events_of, outcome_types(settings), lists.ds, inputs.ds)
    by_hand = judge_sources(searches["judged/retrieve/search"], outcomes, judged_items(states, settings))
    assert [row["recall"] for row in by_hand.rows()] == pytest.approx([row["recall"] for row in by_source.values()])
    worth = f'<td class="number">{by_source["cooccurrence"]["recall"]:.4f}</td>'
    assert re.search(rf"<td>cooccurrence</td><td class=\"number\">100.0%</td>.*50.0%</td> {worth}", page)
    assert "<td>repeat</td>" not in page, "a source that is off"


def test_candidates_that_do_not_tell_their_sources_are_not_judged(tmp_path: Path, nights: Nights) -> None:
    _, inputs = nights
    search = search_of(tmp_path, inputs, inputs["extract"])
    assert is_told(search)
    for part in search.parts("candidates"):
        pl.read_parquet(part.uri).with_columns(pl.lit("towers").alias(columns.SOURCE)).write_parquet(part.uri)
    assert not is_told(search)
    for part in search.parts("candidates"):
        pl.read_parquet(part.uri).drop(columns.SOURCE).write_parquet(part.uri)
    assert not is_told(search)


def test_what_came_later_changes_nothing(tmp_path: Path, nights: Nights) -> None:
    """Events after ds, in a file that holds too much, are no outcomes; events until the lists' date are none either."""
    _, inputs = nights
    before = rows_of(evaluated(tmp_path / "before", nights))
    for part in inputs["extract"].parts("events"):
        events = pl.read_parquet(part.uri)
        later = events.with_columns(pl.col(TIMESTAMP) + pl.duration(days=1)).filter(
            pl.col(TIMESTAMP).dt.date() > inputs.ds
        )
        assert later.height > 0
        pl.concat([events, later.with_columns(pl.lit("i0001").alias(ITEM))]).write_parquet(part.uri)
    assert rows_of(evaluated(tmp_path / "after", nights)) == before


def test_the_baseline_reads_the_lists_own_date(tmp_path: Path, nights: Nights) -> None:
    """Popularity comes from the judged extract alone: spoiling tonight's counts changes nothing."""
    _, inputs = nights
    before = rows_of(evaluated(tmp_path / "before", nights))
    uri = inputs["extract"].uri("items.parquet")
    pl.read_parquet(uri).with_columns(pl.col("^count_.*$") * 0).write_parquet(uri)
    assert rows_of(evaluated(tmp_path / "after", nights)) == before
    uri = inputs["judged/extract"].uri("items.parquet")
    pl.read_parquet(uri).with_columns(pl.col("^count_.*$") * 0).write_parquet(uri)
    assert rows_of(evaluated(tmp_path / "spoilt", nights)) != before


def test_another_number_of_shards_judges_the_same(tmp_path: Path, nights: Nights) -> None:
    settings, inputs = nights
    before = rows_of(evaluated(tmp_path / "before", nights))
    events = [part.uri for part in inputs["extract"].parts("events")]
    pl.concat([pl.read_parquet(uri) for uri in events]).write_parquet(events[0])
    Path(events[1]).unlink()
    assert rows_of(evaluated(tmp_path / "after", (settings, inputs))) == before


def test_users_who_came_later_are_counted_and_not_judged(tmp_path: Path, nights: Nights) -> None:
    _, inputs = nights
    uri = inputs["extract"].parts("events")[0].uri
    events = pl.read_parquet(uri)
    today = events.filter(pl.col(TIMESTAMP).dt.date() == inputs.ds)
    pl.concat([events, today[:1].with_columns(pl.lit("newcomer").alias(USER))]).write_parquet(uri)
    done = evaluated(tmp_path, nights)
    assert done.metrics["users judged"] == 63
    assert done.notes == ("1 users with an outcome until 2026-03-31 had no list of 2026-03-30",)


def test_lists_worse_than_popularity_warn(tmp_path: Path, nights: Nights) -> None:
    settings, inputs = nights
    lists = inputs["judged/compose"]
    for part in lists.parts("lists", "home"):
        names = pl.read_parquet(part.uri)
        nothing = [f"unwanted{number}" for number in range(10)]
        names.with_columns(pl.Series(ITEM, [nothing] * names.height)).write_parquet(part.uri)
    done = evaluated(tmp_path, (settings, inputs))
    warned = [check for check in done.checks if not check.passed]
    assert [(check.name, check.severity) for check in warned] == [("home: recall@20 not below popularity", "warn")]
    assert warned[0].value < 0
    done.raise_if_refused()


def test_the_report_stands_alone_and_escapes_what_data_says(tmp_path: Path, nights: Nights) -> None:
    _, inputs = nights
    uri = inputs["extract"].uri("items.parquet")
    titles = pl.read_parquet(uri).with_columns(pl.lit("<script>alert(1)</script> & co").alias(TITLE))
    titles.write_parquet(uri)
    page = storage.read_bytes(evaluated(tmp_path, nights).uri("report.html")).decode()
    assert "<script" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt; &amp; co" in page
    assert not re.search(r"(?:src|href)=\"(?!data:)", page)
    assert page.count("data:image/png;base64,") == 3
    assert page.count('class="pair"') == 10
    assert "home: every user has one list" in page
    assert "0.5608" in page


def test_outcome_types_can_be_chosen(tmp_path: Path, nights: Nights) -> None:
    settings, inputs = nights
    chosen = settings.model_copy(
        update={"evaluate": settings.evaluate.model_copy(update={"outcome_types": ["purchase"]})}
    )
    fewer = evaluated(tmp_path, (chosen, replace(inputs)))
    assert fewer.metrics["users judged"] < 63
