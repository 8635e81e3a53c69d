"""Who is shown in the report, and what it says of content ideas."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pyarrow as pa

from recjobs import columns
from recjobs.columns import COLD, ITEM, LIST_SCHEMA, REASON, REGIME, SCORE, USER, WARM
from recjobs.compose.ideas import IDEA_SCHEMA
from recjobs.evaluate.ideas import best_ideas
from recjobs.evaluate.items import load_items
from recjobs.evaluate.samples import Sample, sample_users
from recjobs.manifest import Manifest, Output
from tests.compose.planted_candidates import write_table
from tests.planted import Planted, planted_extract

PLANTED = Planted(users=60, items=12, events_per_user=4)
CODES = {"view": 1, "purchase": 2}


def night(folder: Path, cold: set[str]) -> tuple[Manifest, Manifest]:
    """Every user's list is the first three items; the users of `cold` are cold."""
    extract = planted_extract(folder, PLANTED, sequences=False)
    out = Output("compose", extract.ds, "planted", extract.cutoffs, str(folder / "compose"))
    for part in extract.parts("users"):
        users = pl.read_parquet(part.uri)[USER].cast(pl.String).to_list()
        lists = pl.DataFrame(
            {
                USER: users,
                ITEM: [["i0000", "i0001", "i0002"]] * len(users),
                SCORE: [[3.0, 2.0, 1.0]] * len(users),
                REASON: [["buy again", "new", "new"]] * len(users),
                REGIME: [COLD if user in cold else WARM for user in users],
            }
        )
        write_table(lists.to_arrow().cast(LIST_SCHEMA), out.uri("lists", "home", part.name))
    return extract, out.manifest(rows={})


def sampled(extract: Manifest, lists: Manifest, users: int, seed: int = 17) -> list[Sample]:
    items = load_items(extract.uri("items.parquet"), [], {"view": 1.0})
    return sample_users(extract, lists, "home", items, CODES, users, seed)


def test_ten_users_cold_and_warm_the_same_every_time(tmp_path: Path) -> None:
    extract, lists = night(tmp_path, {f"u{number:04d}" for number in range(0, 60, 3)})
    found = sampled(extract, lists, 10)
    assert [sample.regime for sample in found] == [COLD] * 4 + [WARM] * 6
    assert len({sample.user for sample in found}) == 10
    assert found == sampled(extract, lists, 10)
    assert [one.user for one in found] != [one.user for one in sampled(extract, lists, 10, seed=18)]
    warm = [sample.events for sample in found[4:]]
    assert warm == sorted(warm)


def test_history_and_list_have_titles_and_dates(tmp_path: Path) -> None:
    extract, lists = night(tmp_path, set())
    items = pl.read_parquet(extract.uri("items.parquet"))
    titles = dict(items.select(ITEM, columns.TITLE).iter_rows())
    for sample in sampled(extract, lists, 10):
        assert sample.regime == WARM
        assert [shown.title for shown in sample.shown] == [titles[f"i000{number}"] for number in range(3)]
        assert [shown.reason for shown in sample.shown] == ["buy again", "new", "new"]
        days = [done.day for done in sample.history]
        assert days == sorted(days, reverse=True)
        assert all("2026-03-12" <= day <= "2026-03-31" for day in days)
        assert {done.title for done in sample.history} <= set(titles.values())


def test_fewer_users_than_asked_for_are_all_shown(tmp_path: Path) -> None:
    everybody = {f"u{number:04d}" for number in range(60)}
    extract, lists = night(tmp_path, everybody)
    shard = pl.read_parquet(extract.parts("users")[0].uri).height
    assert len(sampled(extract, lists, 100)) == shard
    assert {sample.regime for sample in sampled(extract, lists, 10)} == {COLD}
    assert len(sampled(extract, lists, 10)) == 10
    assert sampled(extract, lists, 0) == []


def test_ideas_of_everybody_come_first_and_then_those_of_the_largest_segments(tmp_path: Path) -> None:
    out = Output(
        "compose", PLANTED.ds, "planted", planted_extract(tmp_path, PLANTED, sequences=False).cutoffs, str(tmp_path)
    )
    assert best_ideas(out.manifest(rows={})) == []
    rows = [
        {
            "segment": segment,
            "cluster": cluster,
            "words": ["brass", "lamp"] if cluster else [],
            "demand_share": 0.5,
            "supply_share": 0.125,
            "ratio": ratio,
            "lack": 0.1,
            "event_share": 0.5,
            "taste_share": 0.5,
            "users": users,
            "items": 3,
            "example_items": ["i1"],
            "example_titles": ["Brass lamp", "Tin lamp"],
        }
        for segment, users in (("all", 90), ("country=FR", 30), ("country=GB", 60))
        for cluster, ratio in ((1, 4.0), (0, 2.0), (2, 1.5), (3, 0.5))
    ]
    write_table(pa.Table.from_pylist(rows, IDEA_SCHEMA), out.uri("ideas.parquet"))
    found = best_ideas(out.manifest(rows={}))
    assert [idea.who for idea in found] == ["everybody"] * 2 + ["country=FR"] * 2 + ["country=GB"] * 2
    assert [idea.words for idea in found[:2]] == ["brass, lamp"] * 2
    assert [idea.ratio for idea in found[:2]] == [4.0, 1.5]
    nameless = [{**row, "words": []} for row in rows]
    assert (found[0].demand, found[0].supply, found[0].examples) == (50.0, 12.5, "Brass lamp; Tin lamp")
    write_table(pa.Table.from_pylist(nameless, IDEA_SCHEMA), out.uri("ideas.parquet"))
    assert [idea.words for idea in best_ideas(out.manifest(rows={}))[:3]] == ["cluster 1", "cluster 0", "cluster 2"]
