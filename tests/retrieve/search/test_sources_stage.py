"""The stage with all sources on, over the towers of the planted night."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from recjobs import columns
from recjobs.errors import SettingsError
from recjobs.flow import STAGES
from recjobs.manifest import Inputs, Manifest, Output
from recjobs.retrieve.search.sources.learning import LearningTask, learn
from recjobs.retrieve.user_features import list_time
from tests.retrieve.nights import MIXED, SEARCH, Night, search, settings_of

EVERY = columns.SCORED_SOURCES


@pytest.fixture(scope="module")
def mixed(night: Night, tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    """Candidates of all sources."""
    folder = tmp_path_factory.mktemp("mixed")
    return search(night.extract, night.train, settings_of(folder, **MIXED), folder)


def candidates_of(done: Manifest) -> pl.DataFrame:
    return pl.concat([pl.read_parquet(part.uri) for part in done.parts("candidates")])


def test_every_user_has_all_quotas_together_and_none_twice(mixed: Manifest) -> None:
    frame = candidates_of(mixed)
    assert frame.height == 150
    for row in frame.rows(named=True):
        assert len(set(row[columns.ITEM_INDEX])) == len(row[columns.ITEM_INDEX]) == 40
        assert row[columns.SCORE] == sorted(row[columns.SCORE], reverse=True)
        brought = {name: sum(bits & columns.source_bit(name) > 0 for bits in row[columns.SOURCE]) for name in EVERY}
        assert brought["towers"] == 20
        assert brought["segment"] == 5
        assert brought["cooccurrence"] <= 6
        assert brought["repeat"] <= 4
        assert brought["ease"] <= 3
        assert all(row[columns.SOURCE])
        assert all(len(row[columns.source_score(name)]) == 40 for name in EVERY)


def test_each_score_is_the_sources_own_whoever_brought_the_candidate(night: Night, mixed: Manifest) -> None:
    items = np.array(pl.read_parquet(mixed.uri("item_vectors.parquet"))[columns.VECTOR].to_list())
    for part in mixed.parts("candidates"):
        frame = pl.read_parquet(part.uri)
        users = np.array(pl.read_parquet(mixed.uri("user_vectors", part.name))[columns.VECTOR].to_list())
        index = np.array(frame[columns.ITEM_INDEX].to_list())
        products = np.einsum("ukd,ud->uk", items[index - 1], users)
        assert np.array(frame[columns.source_score("towers")].to_list()) == pytest.approx(products, abs=1e-5)
        states = pl.read_parquet(night.extract.uri("users", part.name))
        repeated = np.array(frame[columns.source_score("repeat")].to_list()) > 0
        had = [np.isin(row, own) for row, own in zip(index, states[columns.PAIR_ITEM].to_list(), strict=True)]
        assert (repeated == np.array(had)).all()
        assert repeated.sum() > (np.array(frame[columns.SOURCE].to_list()) & columns.source_bit("repeat") > 0).sum()


def test_co_occurrence_ease_and_segment_know_the_users_group(night: Night, mixed: Manifest) -> None:
    """Users like their own group, and in each country there is one."""
    groups = night.group_of_item()
    for source in ("cooccurrence", "segment", "ease"):
        bit = columns.source_bit(source)
        own = []
        for name, items, bits in candidates_of(mixed).select(columns.USER, columns.ITEM_INDEX, columns.SOURCE).rows():
            chosen = [item for item, found in zip(items, bits, strict=True) if found & bit]
            own += [groups[item] == int(name[1:]) % 3 for item in chosen]
        assert np.mean(own) > 0.85, source


def test_the_manifest_tells_each_sources_share(mixed: Manifest) -> None:
    metrics = mixed.metrics
    assert metrics["candidates"] == 40
    assert metrics["share_towers"] == 0.5
    bits = np.array(candidates_of(mixed)[columns.SOURCE].to_list())
    for source in columns.SOURCES:
        bit = columns.source_bit(source)
        assert metrics[f"share_{source}"] == pytest.approx((bits & bit > 0).mean()), source
        assert metrics[f"alone_{source}"] == pytest.approx((bits == bit).mean()), source
    assert "sources" in mixed.timings


def test_what_was_learnt_is_stored_without_a_user_and_nothing_is_left_aside(mixed: Manifest) -> None:
    stored = {part.name for part in mixed.parts("sources")}
    assert stored == {
        "cooccurrence/part-00000.parquet",
        "cooccurrence/part-00001.parquet",
        "ease/part-00000.parquet",
        "intervals.parquet",
        "segments.parquet",
    }
    for part in mixed.parts("sources"):
        assert columns.USER not in pl.read_parquet_schema(part.uri)


def test_the_future_changes_nothing(night: Night, mixed: Manifest, tmp_path: Path) -> None:
    """Events after the cutoffs lie in the extract's canonical events when cutoffs lag: here all move a year ahead."""
    folder = tmp_path / "extract"
    (folder / "events").mkdir(parents=True)
    for name in ("users", "items.parquet"):
        (folder / name).symlink_to(night.extract.uri(name))
    for part in night.extract.parts("events"):
        events = pl.read_parquet(part.uri)
        later = events.with_columns(
            pl.col(columns.TIMESTAMP) + timedelta(days=365), pl.col(columns.ITEM).reverse().alias(columns.ITEM)
        )
        schema = pl.concat([events, later]).sort(columns.USER, columns.TIMESTAMP, maintain_order=True)
        schema.write_parquet(folder / "events" / part.name)
    extract = night.extract.model_copy(update={"folder": str(folder)})
    again = search(extract, night.train, settings_of(tmp_path, **MIXED), tmp_path / "again")
    for part in mixed.parts("candidates"):
        assert Path(again.uri("candidates", part.name)).read_bytes() == Path(part.uri).read_bytes()


def test_models_learn_nothing_after_train_until(night: Night, mixed: Manifest, tmp_path: Path) -> None:
    """The last day is in the users' states, but no similarity and no interval is made of it."""
    from recjobs.retrieve.search.stage import run

    before = night.extract.ds - timedelta(days=1)
    kept: dict[str, list[str]] = {}
    for (part,) in night.extract.shards("events"):
        (tmp_path / "events").mkdir(exist_ok=True)
        kept[part.name] = [str(tmp_path / "events" / part.name)]
        events = pl.read_parquet(part.uri).filter(pl.col(columns.TIMESTAMP).dt.date() <= before)
        events.write_parquet(kept[part.name][0])
    settings = settings_of(tmp_path, **MIXED)
    task = LearningTask(
        kept,
        night.extract.uri("users"),
        night.extract.uri("items.parquet"),
        str(tmp_path / "learnt"),
        list_time(night.extract.ds),
        {"view": 1.0, "purchase": 4.0},
        settings.retrieve.search.sources,
    )
    learn(task, [part.name for part in night.extract.parts("users")], settings.beam)
    cutoffs = night.extract.cutoffs.model_copy(update={"train_until": before})
    out = Output("retrieve/search", night.extract.ds, "r", cutoffs, str(tmp_path / "lag"))
    inputs = Inputs(night.extract.ds, cutoffs, {"extract": night.extract, "retrieve/train": night.train})
    lagging = run(inputs, settings.view(STAGES[SEARCH].sections), out)
    for name in tuple(part.name for part in mixed.parts("sources") if part.name != "segments.parquet"):
        stored = Path(lagging.uri("sources", name)).read_bytes()
        assert stored == (tmp_path / "learnt" / name).read_bytes()
        assert stored != Path(mixed.uri("sources", name)).read_bytes()


def test_a_segment_by_an_unknown_column_is_an_error_that_names_it(night: Night, tmp_path: Path) -> None:
    settings = settings_of(tmp_path, **MIXED, retrieve__search__sources__segment__by=["continent"])
    with pytest.raises(SettingsError, match="no column 'continent'"):
        search(night.extract, night.train, settings, tmp_path)
