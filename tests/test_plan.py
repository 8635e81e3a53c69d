"""Planning pins what a run reads: the same inputs give the same plan, a younger artefact is never seen."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from recjobs import storage
from recjobs.errors import CorruptFileError, MissingDateError, NotArrivedError, SettingsError
from recjobs.lineage import stale_reasons, status_of
from recjobs.plan import load_plan, make_plan, plan_run, plans_of, store_plan
from recjobs.settings import load_settings
from tests.planned import DS, finish, open_shop, plan_of, write_events


@pytest.fixture
def config(tmp_path: Path) -> str:
    return open_shop(tmp_path)


def test_the_same_inputs_give_the_same_plan(config: str) -> None:
    assert plan_run(config, DS) == plan_run(config, DS)
    assert len(plans_of(load_settings(config), DS)) == 1


def test_changed_events_give_another_plan_and_other_runs(config: str, tmp_path: Path) -> None:
    before = plan_of(config)
    write_events(tmp_path, DS - timedelta(days=5), b"late")
    after = plan_of(config)
    assert (before.sequence, after.sequence) == (1, 2)
    assert all(before.steps[name].run != after.steps[name].run for name in before.steps)


def test_a_setting_changes_only_the_stages_that_read_it_and_those_behind(config: str) -> None:
    before, after = plan_of(config), plan_of(config, compose__cold_threshold=7)
    changed = {name for name in before.steps if before.steps[name].run != after.steps[name].run}
    assert changed == {"compose", "evaluate", "publish"}


def test_where_things_are_and_how_they_run_change_no_recipe(config: str, tmp_path: Path) -> None:
    before = plan_of(config)
    other = plan_of(config, root=str(tmp_path / "elsewhere"), beam__runner="FlinkRunner")
    assert {name: step.run for name, step in before.steps.items()} == {
        name: step.run for name, step in other.steps.items()
    }


def test_a_first_run_makes_the_past_that_the_ranker_learns_from(config: str) -> None:
    plan = plan_of(config)
    earlier = ["earlier/extract", "earlier/retrieve/train", "earlier/retrieve/search"]
    assert list(plan.steps)[:5] == ["extract", *earlier, "retrieve/train"]
    assert {plan.steps[name].ds for name in earlier} == {DS - timedelta(days=2)}
    assert plan.steps["rank/train"].inputs["earlier/extract"] == plan.steps["earlier/extract"].manifest_uri
    assert all(
        file.day is not None and file.day <= DS - timedelta(days=2)
        for file in plan.steps["earlier/extract"].sources.events
    )


def test_a_later_run_takes_the_candidates_of_the_night_they_were_made(config: str) -> None:
    earlier = plan_of(config, DS - timedelta(days=2))
    finish(earlier)
    plan = plan_of(config)
    assert next(iter(plan.steps)) == "extract"
    assert plan.steps["rank/train"].inputs["earlier/retrieve/search"] == earlier.steps["retrieve/search"].manifest_uri
    assert plan.steps["evaluate"].inputs["judged/compose"] == earlier.steps["compose"].manifest_uri


def test_the_ranker_also_learns_from_windows_before_the_last_where_they_have_candidates(config: str) -> None:
    further, earlier = (plan_of(config, DS - timedelta(days=days)) for days in (4, 2))
    finish(further)
    finish(earlier)
    plan = plan_of(config)
    inputs = plan.steps["rank/train"].inputs
    assert inputs["earlier/2/extract"] == further.steps["extract"].manifest_uri
    assert inputs["earlier/2/retrieve/search"] == further.steps["retrieve/search"].manifest_uri
    assert not any(name.startswith("earlier/3") for name in inputs)
    assert f"ranker also learns from the candidates of {further.ds}" in plan.notes
    assert not any("/2/" in name for name in plan_of(config, rank__train__label_windows=1).steps["rank/train"].inputs)


def test_a_window_made_from_other_files_is_not_learnt_from_and_those_who_did_are_stale(
    config: str, tmp_path: Path
) -> None:
    settings = load_settings(config)
    further, earlier = (plan_of(config, DS - timedelta(days=days)) for days in (4, 2))
    finish(further)
    finish(earlier)
    plan = plan_of(config)
    finish(plan)
    assert stale_reasons(settings, plan) == []
    write_events(tmp_path, DS - timedelta(days=4), b"late")
    finish(plan_of(config, DS - timedelta(days=2)))
    assert any(f"candidates of {further.ds}, which" in reason for reason in stale_reasons(settings, plan))
    again = plan_of(config).steps["rank/train"].inputs
    assert "earlier/retrieve/search" in again
    assert "earlier/2/retrieve/search" not in again


def test_lists_that_were_not_published_are_not_judged(config: str) -> None:
    earlier = plan_of(config, DS - timedelta(days=2))
    finish(earlier, *(name for name in earlier.steps if name != "publish"))
    assert "judged/compose" not in plan_of(config).steps["evaluate"].inputs


def test_planning_again_after_the_simulated_past_is_done_changes_nothing(config: str) -> None:
    first = plan_run(config, DS)
    finish(load_plan(first))
    assert plan_run(config, DS) == first


def test_a_backfill_sees_nothing_younger_than_its_date(config: str) -> None:
    alone = make_plan(load_settings(config), config, DS - timedelta(days=4))
    for offset in range(4):
        finish(plan_of(config, DS - timedelta(days=offset)))
    backfill = plan_of(config, DS - timedelta(days=4))
    assert backfill.digest == alone.digest
    for step in backfill.steps.values():
        files = [file.day for kind in ("events", "items", "users") for file in getattr(step.sources, kind)]
        assert all(day is not None and day <= DS - timedelta(days=4) for day in files)
        assert all(
            f"ds={DS - timedelta(days=offset)}" not in uri for uri in step.inputs.values() for offset in range(4)
        )


def test_late_data_makes_the_date_and_those_learnt_from_it_stale(config: str, tmp_path: Path) -> None:
    settings = load_settings(config)
    earlier = plan_of(config, DS - timedelta(days=2))
    finish(earlier)
    plan = plan_of(config)
    finish(plan)
    assert stale_reasons(settings, plan) == []
    late = DS - timedelta(days=6)
    write_events(tmp_path, late, b"late")
    for stale in (earlier, plan):
        assert f"date={late}/part-0.parquet has changed" in stale_reasons(settings, stale)[0]
    assert "earlier/extract" in plan_of(config).steps, "candidates from before the late data are no past to learn from"


def test_status_says_what_is_next(config: str) -> None:
    plan = plan_of(config)
    finish(plan, "earlier/extract", "earlier/retrieve/train", "earlier/retrieve/search", "extract")
    status = status_of(load_settings(config), DS)
    assert (status.done, status.steps, status.next_step, status.stale) == (4, 11, "retrieve/train", [])


def test_events_that_have_not_arrived_may_come(config: str) -> None:
    with pytest.raises(NotArrivedError, match=r"events of 2026-04-01 have not arrived .* newest is 2026-03-31"):
        plan_run(config, DS + timedelta(days=1))


def test_a_run_without_a_past_says_where_to_start(config: str) -> None:
    with pytest.raises(MissingDateError, match="Start at a date with at least 2 more days of events before it"):
        plan_run(config, DS - timedelta(days=9))


def test_plans_stored_at_once_get_numbers_of_their_own(config: str) -> None:
    settings = load_settings(config)
    plans = [make_plan(load_settings(config, {"seed": seed}), config, DS) for seed in range(4)]
    uris = [store_plan(plan, settings) for plan in plans]
    assert [plan.sequence for plan in plans_of(settings, DS)] == [1, 2, 3, 4]
    assert [store_plan(plan, settings) for plan in plans] == uris


def test_a_broken_plan_is_named(tmp_path: Path) -> None:
    uri = str(tmp_path / "plan.json")
    storage.write_bytes(uri, b"{}")
    with pytest.raises(CorruptFileError, match=r"plan\.json is no plan"):
        load_plan(uri)


def test_candidates_made_anew_make_those_learnt_from_them_stale(config: str) -> None:
    settings = load_settings(config)
    finish(plan_of(config, DS - timedelta(days=2)))
    plan = plan_of(config)
    finish(plan)
    finish(plan_of(config, DS - timedelta(days=2), retrieve__train__epochs=1))
    assert stale_reasons(settings, plan) == ["the candidates of 2026-03-29 were made anew by plan 2"]


def test_a_plan_keeps_no_secret_and_takes_none_as_an_override(config: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SettingsError, match="RECJOBS__DATABASE__URL"):
        plan_run(config, DS, {"database.url": "postgresql://app:sesame@db/app"})
    monkeypatch.setenv("RECJOBS__DATABASE__URL", "postgresql://app:sesame@db/app")
    uri = plan_run(config, DS, {"database.schema_name": "lists"})
    assert b"sesame" not in storage.read_bytes(uri)
    settings = load_plan(uri).stage_settings()
    assert settings.database.schema_name == "lists"
    assert settings.database.url is not None
    assert settings.database.url.get_secret_value() == "postgresql://app:sesame@db/app"
