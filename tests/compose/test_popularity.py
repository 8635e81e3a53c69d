"""Popularity by segment against counting by hand; segments and their nesting."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recjobs import columns
from recjobs.columns import EVENT_TYPE, ITEM, SEGMENT, TIMESTAMP, USER
from recjobs.compose.popularity import Window, arrange, combine, count, count_shard, rank, segment_depth
from recjobs.compose.segments import membership, own_segments, require_columns, spoken
from recjobs.errors import SettingsError
from tests.compose.planted_candidates import write_table
from tests.compose.worlds import Person, World, config_of, scene_of

UNTIL = date(2026, 3, 31)
WEIGHTS = {"view": 1.0, "purchase": 4.0}


def users_of(countries: list[str | None]) -> pl.DataFrame:
    names = [f"u{number}" for number in range(len(countries))]
    return pl.DataFrame({USER: names, columns.COUNTRY: countries}, schema={USER: pl.String, columns.COUNTRY: pl.String})


events = st.lists(st.tuples(st.integers(0, 5), st.integers(1, 4), st.sampled_from(sorted(WEIGHTS))), max_size=30)


@settings(max_examples=60, deadline=None)
@given(events, st.lists(st.sampled_from(["GB", "FR", None]), min_size=6, max_size=6), st.integers(1, 3))
def test_ranking_is_that_of_counting_by_hand(
    done: list[tuple[int, int, str]], countries: list[str | None], support: int
) -> None:
    world = World(4, {1, 2, 4}, [Person()])
    frame = pl.DataFrame(
        {
            USER: [f"u{user}" for user, _, _ in done],
            ITEM: [f"i{item}" for _, item, _ in done],
            EVENT_TYPE: [kind for _, _, kind in done],
        },
        schema={USER: pl.String, ITEM: pl.String, EVENT_TYPE: pl.String},
    )
    config = config_of(world).model_copy(update={"segment_support": support})
    users = users_of(countries)
    halves = [count(frame.join(part, on=USER, how="semi"), part, ["country"]) for part in (users[:3], users[3:])]
    catalogue = scene_of(world).catalogue
    popular = arrange(rank(combine(halves), catalogue, config, WEIGHTS), catalogue)

    weights: dict[str, Counter[int]] = {"all": Counter()}
    members = Counter(country for country in countries if country)
    weights |= {f"country={name}": Counter() for name, size in members.items() if size >= support}
    for user, item, kind in done:
        for name in ("all", f"country={countries[user]}"):
            if name in weights and item in world.eligible:
                weights[name][item] += int(WEIGHTS[kind])
    assert popular.segments == ["all", *sorted(set(weights) - {"all"})]
    for code, name in enumerate(popular.segments):
        expected = sorted(weights[name].items(), key=lambda pair: (-pair[1], pair[0]))
        items, found = popular.of(code)
        positive = [(item, weight) for item, weight in zip(items.tolist(), found.tolist(), strict=True) if weight]
        assert positive == expected
    assert sorted(popular.of(0)[0].tolist()) == sorted(world.eligible)


def test_only_positive_types_in_the_window_count(tmp_path: Path) -> None:
    midnight = datetime(2026, 4, 1, tzinfo=UTC)
    moments = [
        midnight,
        midnight - timedelta(microseconds=1),
        midnight - timedelta(days=2),
        midnight - timedelta(days=2, microseconds=1),
    ]
    rows = [("u0", "i1", "view", moment) for moment in moments]
    rows += [("u0", "i2", "return", moments[1]), ("u0", None, "view", moments[1])]
    table = pl.DataFrame(
        rows,
        schema={USER: pl.String, ITEM: pl.String, EVENT_TYPE: pl.String, TIMESTAMP: pl.Datetime("us", "UTC")},
        orient="row",
    )
    write_table(table.to_arrow(), str(tmp_path / "events.parquet"))
    write_table(users_of(["GB"]).to_arrow(), str(tmp_path / "users.parquet"))
    counted = count_shard(
        [str(tmp_path / "events.parquet")], str(tmp_path / "users.parquet"), ["country"], Window(UNTIL, 2, WEIGHTS)
    )
    assert sorted(counted.events.rows()) == [("all", "i1", "view", 2), ("country=GB", "i1", "view", 2)]
    assert sorted(counted.users.rows()) == [("all", 1), ("country=GB", 1)]


def test_segments_are_all_subsets_of_what_is_known() -> None:
    users = pl.DataFrame({USER: ["a", "b", "c"], "country": ["GB", None, None], "age_band": ["25-34", "25-34", None]})
    found = membership(users, ["country", "age_band"]).sort("row", SEGMENT).rows()
    everyone = [(0, "age_band=25-34"), (0, "country=GB"), (0, "country=GB&age_band=25-34"), (1, "age_band=25-34")]
    assert found == everyone
    own = own_segments(users, ["country", "age_band"], ["all", "country=GB", "age_band=25-34"])
    assert own.tolist() == [[1, 2, 0], [2, 0, 0], [0, 0, 0]]
    assert own_segments(users, [], ["all"]).tolist() == [[0]] * 3


def test_segments_in_words() -> None:
    assert spoken("country=GB&age_band=25-34") == "people in GB aged 25-34"
    assert spoken("language=fr&team=R&D") == "people speaking fr with team R&D"


def test_a_segment_column_that_is_not_there_is_named() -> None:
    with pytest.raises(SettingsError, match=r"segment_by names 'planet', which user states do not have"):
        require_columns(["user_id", "country"], ["country", "planet"])


def test_segments_keep_a_bounded_depth() -> None:
    world = World(60, set(range(1, 61)), [Person()], length=5)
    done = pl.DataFrame({USER: ["u0"] * 60, ITEM: [f"i{item}" for item in range(1, 61)], EVENT_TYPE: ["view"] * 60})
    config, catalogue = config_of(world), scene_of(world).catalogue
    popular = arrange(rank(count(done, users_of(["GB"]), ["country"]), catalogue, config, WEIGHTS), catalogue)
    assert popular.lengths.tolist() == [60, segment_depth(config)]
