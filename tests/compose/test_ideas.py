"""Content ideas on planted worlds: who wants what is known, and so is what there is."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pytest

from recjobs import columns
from recjobs.columns import EVENT_TYPE, ITEM, SEGMENT, USER
from recjobs.compose.catalogue import Catalogue
from recjobs.compose.clusters import NONE, Clusters, cluster_items
from recjobs.compose.ideas import IDEA_SCHEMA, ideas_table
from recjobs.compose.popularity import Tastes, Window, combine, count
from recjobs.compose.telling import telling_words
from recjobs.errors import CorruptFileError
from tests.compose.planted_candidates import write_table
from tests.compose.test_popularity import UNTIL

KINDS = {"oak table": 40, "silk scarf": 40, "brass lantern": 2}
"""Titles, and how many items of each there are: lanterns are rare."""
WEIGHTS = {"view": 1.0}


def shop() -> tuple[Catalogue, Clusters]:
    """Items of three kinds, and each kind a cluster."""
    titles = [title for title, many in KINDS.items() for _ in range(many)]
    kinds = [kind for kind, many in enumerate(KINDS.values()) for _ in range(many)]
    size = len(titles) + 1
    catalogue = Catalogue(
        item_id=pl.Series([None, *(f"i{number}" for number in range(1, size))], dtype=pl.String),
        title=pl.Series([None, *titles], dtype=pl.String),
        eligible=np.r_[False, np.ones(size - 1, np.bool_)],
        new=np.zeros(size, np.bool_),
        category=pl.Series([None] * size, dtype=pl.String),
        events=np.arange(size),
        age=np.full(size, np.inf),
    )
    return catalogue, Clusters(np.r_[NONE, kinds].astype(np.int32), np.eye(3, dtype=np.float32))


def counted(wishes: dict[str, list[int]], catalogue: Catalogue, clusters: Clusters) -> pa.Table:
    """Ideas where everybody of a country views, and is drawn to, items of the kinds named; 30 people each."""
    people = [(country, kind) for country, kinds in wishes.items() for kind in kinds for _ in range(30 // len(kinds))]
    users = pl.DataFrame({USER: [f"u{row}" for row in range(len(people))], "country": [one for one, _ in people]})
    members = {kind: np.flatnonzero(clusters.of == kind) for kind in range(3)}
    viewed = [f"i{members[kind][row % len(members[kind])]}" for row, (_, kind) in enumerate(people)]
    events = pl.DataFrame({USER: users[USER], ITEM: viewed, EVENT_TYPE: ["view"] * len(people)})
    drawn = np.array([kind for _, kind in people], np.int32)
    halves = [
        count(events.join(part, on=USER, how="semi"), part, ["country"], drawn[start : start + 25])
        for start in range(0, len(people), 25)
        for part in (users[start : start + 25],)
    ]
    return ideas_table(combine(halves), ["all", "country=FR", "country=GB"], catalogue, clusters, WEIGHTS)


def test_a_taste_that_lacks_items_comes_first() -> None:
    catalogue, clusters = shop()
    table = counted({"GB": [2, 1], "FR": [0, 1]}, catalogue, clusters)
    assert table.schema.equals(IDEA_SCHEMA)
    ideas = pl.DataFrame(pl.from_arrow(table))
    first = {row[SEGMENT]: row for row in reversed(ideas.to_dicts())}
    assert list(first)[::-1] == ["all", "country=FR", "country=GB"]
    assert first["country=GB"]["words"] == ["brass", "lantern"]
    assert first["country=GB"]["demand_share"] == first["country=GB"]["event_share"] == 0.5
    assert (first["country=GB"]["users"], first["country=GB"]["items"]) == (15, 2)
    assert first["country=GB"]["supply_share"] == 2 / 82
    assert first["country=GB"]["example_titles"] == ["brass lantern"] * 2
    assert first["country=GB"]["example_items"] == ["i82", "i81"]
    # In France nobody asks for lanterns: there what is asked for is what there is.
    assert first["country=FR"]["words"] != ["brass", "lantern"]
    assert first["country=FR"]["ratio"] < 1.1
    assert first["all"]["words"] == ["brass", "lantern"]


def test_shares_of_a_segment_add_up() -> None:
    ideas = pl.DataFrame(pl.from_arrow(counted({"GB": [2, 1], "FR": [0]}, *shop())))
    sums = ideas.group_by(SEGMENT).agg(pl.col("demand_share", "supply_share", "event_share", "taste_share").sum())
    assert np.allclose(sums.drop(SEGMENT).to_numpy(), 1)


def test_a_segment_that_wanted_nothing_has_no_ideas() -> None:
    catalogue, clusters = shop()
    ideas = ideas_table(combine([_nobody()]), ["all", "country=GB"], catalogue, clusters, WEIGHTS)
    assert ideas.num_rows == 0
    assert ideas.schema.equals(IDEA_SCHEMA)


def _nobody() -> object:
    schema = {USER: pl.String, ITEM: pl.String, EVENT_TYPE: pl.String}
    return count(pl.DataFrame(schema=schema), pl.DataFrame({USER: ["a"], "country": ["GB"]}), ["country"])


def test_clusters_find_planted_directions_and_are_the_same_twice(tmp_path: Path) -> None:
    random = np.random.default_rng(3)
    kinds = random.integers(0, 4, 400)
    vectors = np.eye(8)[kinds] * random.uniform(0.5, 5, (400, 1)) + 0.02 * random.standard_normal((400, 8))
    uri = str(tmp_path / "item_vectors.parquet")
    listed = pa.array(vectors.tolist(), pa.list_(pa.float32()))
    write_table(pa.table({columns.ITEM_INDEX: pa.array(range(1, 401), pa.int32()), columns.VECTOR: listed}), uri)
    found = cluster_items(uri, 402, 4, seed=17)
    assert found.of[[0, 401, 402]].tolist() == [NONE] * 3
    for kind in range(4):
        assert len(set(found.of[1:401][kinds == kind])) == 1
    assert len(set(found.of[1:401])) == 4
    again = cluster_items(uri, 402, 4, seed=17)
    assert np.array_equal(found.of, again.of)
    assert np.array_equal(found.centres, again.centres)
    assert cluster_items(uri, 402, 1000, seed=17).size == 50


def test_telling_words_are_those_of_one_group() -> None:
    texts = pl.DataFrame(
        {
            "group": [0, 0, 1, 1, 2],
            "text": ["Red silk scarf", "red wool scarf 12", "red lamp", "Red brass lamp", None],
            "times": [1.0, 1.0, 1.0, 1.0, 1.0],
        }
    )
    words = telling_words(texts, 2)
    assert words[0][0] == "scarf"
    assert words[1][0] == "lamp"
    assert set(words) == {0, 1}
    assert telling_words(texts.clear(), 2) == {}
    often = texts.with_columns(times=pl.Series([1.0, 9.0, 1.0, 1.0, 1.0]))
    assert telling_words(often, 2)[0] == ["scarf", "wool"]


def test_drawn_to_by_vectors(tmp_path: Path) -> None:
    from datetime import UTC, datetime

    from recjobs.compose.popularity import count_shard

    users, vectors, events = (str(tmp_path / f"{name}.parquet") for name in ("users", "vectors", "events"))
    write_table(pa.table({USER: ["a", "b"], "country": pa.array(["GB", None], pa.string())}), users)
    listed = pa.array([[0.1, 0.9], [0.8, 0.1]], pa.list_(pa.float32()))
    write_table(pa.table({USER: ["a", "b"], columns.VECTOR: listed}), vectors)
    moment = pa.array([datetime(2026, 3, 31, tzinfo=UTC)], pa.timestamp("us", "UTC"))
    write_table(pa.table({USER: ["a"], ITEM: ["i1"], EVENT_TYPE: ["view"], columns.TIMESTAMP: moment}), events)
    tastes = Tastes(vectors, np.eye(2, dtype=np.float32))
    found = count_shard([events], users, ["country"], Window(UNTIL, 2, WEIGHTS), tastes).tastes
    assert sorted(found.rows()) == [("all", 0, 1), ("all", 1, 1), ("country=GB", 1, 1)]
    write_table(pa.table({USER: ["a", "c"], columns.VECTOR: listed}), vectors)
    with pytest.raises(CorruptFileError, match=r"vectors\.parquet \(2 users\) is not of the 2 users of the states"):
        count_shard([events], users, ["country"], Window(UNTIL, 2, WEIGHTS), tastes)
