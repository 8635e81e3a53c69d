"""What a run goes on from: the newest earlier results that still stand, and never a younger one."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path

import pytest

from recjobs import storage
from recjobs.lineage import stale_reasons
from recjobs.manifest import Check, SourceFile
from recjobs.plan import Plan
from recjobs.plans import differences
from recjobs.settings import load_settings
from tests.planned import DS, finish, open_shop, plan_of, write_events

EXTRACT, TRAIN = "previous/extract", "previous/retrieve/train"


@pytest.fixture
def config(tmp_path: Path) -> str:
    return open_shop(tmp_path)


def ago(days: int) -> date:
    return DS - timedelta(days=days)


def towers(plan: Plan) -> str | None:
    return plan.steps["retrieve/train"].inputs.get(TRAIN)


def states(plan: Plan) -> str | None:
    return plan.steps["extract"].inputs.get(EXTRACT)


def made(plan: Plan, step: str) -> str:
    return plan.steps[step].manifest_uri


def test_a_night_goes_on_from_the_newest_finished_night_before_it(config: str) -> None:
    for days in (4, 3):
        finish(plan_of(config, ago(days)))
    before = plan_of(config, ago(2))
    finish(before, "extract")
    last = plan_of(config, ago(3))
    plan = plan_of(config)
    assert states(plan) == made(before, "extract")
    assert towers(plan) == made(last, "retrieve/train"), "the towers of the day after are not there yet"
    assert plan.steps["retrieve/train"].inputs[EXTRACT] == made(last, "extract")
    assert f"extract goes on from {ago(2)}, plan 1" in plan.notes
    assert f"towers go on from those of {ago(3)}, plan 1" in plan.notes


def test_a_first_run_goes_on_from_the_towers_of_its_simulated_past(config: str) -> None:
    plan = plan_of(config)
    assert states(plan) is None
    assert towers(plan) == made(plan, "earlier/retrieve/train")
    assert plan.steps["retrieve/train"].inputs[EXTRACT] == made(plan, "earlier/extract")
    assert plan.steps["earlier/retrieve/train"].inputs == {"extract": made(plan, "earlier/extract")}
    assert plan.steps["earlier/extract"].inputs == {}
    assert f"towers go on from those of {ago(2)}, made by this run" in plan.notes


@pytest.mark.parametrize("off", [{"warm_start": False}, {"full_every": 1}])
def test_without_warm_starts_every_night_trains_in_full(config: str, off: dict[str, object]) -> None:
    overrides = {f"retrieve__train__{name}": value for name, value in off.items()}
    finish(plan_of(config, ago(1), **overrides))
    plan = plan_of(config, **overrides)
    assert towers(plan) is None
    assert set(plan.steps["retrieve/train"].inputs) == {"extract"}


def test_a_planted_younger_night_is_never_seen(config: str) -> None:
    old = plan_of(config, ago(4))
    for days in (3, 2, 1, 0):
        finish(plan_of(config, ago(days)))
    backfill = plan_of(config, ago(4))
    assert backfill == old
    finish(backfill)
    again = plan_of(config, ago(3), seed=5)
    seen = [uri for step in again.steps.values() for uri in step.inputs.values()]
    assert not [uri for uri in seen if any(f"ds={ago(days)}" in uri for days in (2, 1, 0))]


def test_a_plan_made_before_the_night_before_had_finished_stays_as_it_was(config: str) -> None:
    early = plan_of(config)
    finish(early)
    finish(plan_of(config, ago(1)))
    again = plan_of(config)
    assert {name: step.run for name, step in again.steps.items()} == {
        name: step.run for name, step in early.steps.items() if not name.startswith("earlier/")
    } | {name: step.run for name, step in again.steps.items() if name.startswith("earlier/")}
    assert states(again) == made(plan_of(config, ago(1)), "extract"), "how an extract is made is no part of its name"


@pytest.mark.parametrize(
    ("metrics", "full"),
    [
        ({}, None),
        ({"warm_nights": 5.0, "drift": 0.1}, None),
        ({"warm_nights": 6.0}, "7 nights since the last time, and retrieve.train.full_every = 7"),
        ({"drift": 0.2}, f"those of {ago(1)} have drifted by 0.2, retrieve.train.drift_limit = 0.1"),
    ],
)
def test_a_full_training_comes_after_some_nights_or_too_much_drift(
    config: str, metrics: dict[str, float], full: str | None
) -> None:
    before = plan_of(config, ago(1))
    finish(before, "retrieve/train", metrics=metrics)
    finish(before)
    plan = plan_of(config)
    assert towers(plan) == (None if full else made(before, "retrieve/train"))
    assert any(note == f"towers are trained in full: {full}" for note in plan.notes) == bool(full)


def test_refused_results_are_passed_over(config: str) -> None:
    good, bad = plan_of(config, ago(2)), plan_of(config, ago(1))
    finish(good)
    refused = Check(name="finite_loss", passed=False, value=1, limit=0, detail="nan")
    finish(bad, "extract", "retrieve/train", checks=(refused,))
    plan = plan_of(config)
    assert (states(plan), towers(plan)) == (made(good, "extract"), made(good, "retrieve/train"))


@pytest.mark.parametrize(
    "change", [{"seed": 5}, {"beam__shards": 3}, {"extract__history_length": 9}, {"time__late_days": 1}]
)
def test_other_settings_or_shards_start_anew(config: str, change: dict[str, object]) -> None:
    finish(plan_of(config, ago(1)))
    plan = plan_of(config, **change)
    assert states(plan) is None
    assert any("settings have changed" in note for note in plan.notes)


@pytest.mark.parametrize(
    ("change", "goes_on"),
    [
        ({"retrieve__search__candidates": 7}, True),
        ({"rank__train__epochs": 9}, True),
        ({"retrieve__train__epochs": 9}, False),
    ],
)
def test_towers_go_on_unless_their_own_settings_have_changed(
    config: str, change: dict[str, object], goes_on: bool
) -> None:
    before = plan_of(config, ago(1))
    finish(before)
    kept = made(before, "retrieve/train") if goes_on else None
    night = plan_of(config, **change)
    assert towers(night) == (kept or made(night, "earlier/retrieve/train"))
    assert states(night) == made(before, "extract")


def test_other_code_starts_anew(config: str) -> None:
    finish(plan_of(config, ago(1)), "extract", code_version="0.1.0+other")
    plan = plan_of(config)
    assert states(plan) is None
    assert any("the code has changed" in note for note in plan.notes)


def test_changed_days_start_anew_and_make_every_night_after_stale(config: str, tmp_path: Path) -> None:
    settings = load_settings(config)
    plans = []
    for days in (3, 2, 1, 0):
        plans.append(plan_of(config, ago(days)))
        finish(plans[-1])
    assert [towers(plan) for plan in plans[1:]] == [made(plan, "retrieve/train") for plan in plans[:-1]]
    assert [stale_reasons(settings, plan) for plan in plans] == [[]] * 4
    write_events(tmp_path, ago(1), b"late")
    assert [bool(stale_reasons(settings, plan)) for plan in plans] == [False, False, True, True]
    fresh = plan_of(config)
    assert states(fresh) == made(plans[1], "extract"), "the newest night that read nothing of the changed day"
    assert towers(fresh) == made(plans[1], "retrieve/train")


def test_moved_data_are_the_same_data(config: str, tmp_path: Path) -> None:
    plans = []
    for days in (2, 1):
        plans.append(plan_of(config, ago(days)))
        finish(plans[-1])
    moved = tmp_path / "elsewhere"
    (tmp_path / "events").rename(moved)
    now = load_settings(config, {"events.path": str(moved)})
    assert [stale_reasons(now, plan) for plan in plans] == [[], []]
    night = plan_of(config, events__path=str(moved))
    assert (states(night), towers(night)) == (made(plans[1], "extract"), made(plans[1], "retrieve/train"))
    again = plan_of(config, ago(1), events__path=str(moved))
    assert [step.run for step in again.steps.values()] == [step.run for step in plans[1].steps.values()]
    changed = moved / f"date={ago(2)}" / "part-0.parquet"
    changed.write_bytes(b"late")
    assert stale_reasons(now, plans[1])[0] == f"events: {changed} has changed"
    changed.rename(moved / f"date={ago(2)}" / "part-1.parquet")
    assert {line.rsplit(" ", 1)[1] for line in stale_reasons(now, plans[0])} == {"gone", "new"}


def pinned(content: str, folder: str = "a", name: str = "part-0", day: date | None = DS) -> SourceFile:
    return SourceFile(uri=f"{folder}/{name}", digest=content, size=1, day=day)


def test_files_of_one_day_and_name_are_told_apart_by_their_content() -> None:
    before = [pinned("x", "a/hour=1"), pinned("x", "a/hour=2"), pinned("y", "a/hour=3")]
    assert differences("events", before, [pinned("y", "b/hour=1"), pinned("x", "b/hour=3"), pinned("x", "c")]) == []
    assert differences("events", before, [*before, pinned("z", "a/hour=4")]) == ["events: a/hour=4/part-0 has changed"]
    assert differences("events", before, before[:2]) == ["events: a/hour=3/part-0 has changed"]
    assert differences("events", [pinned("x")], [pinned("x", day=ago(1))]) == [
        "events: a/part-0 is gone",
        "events: a/part-0 is new",
    ]


def test_towers_made_anew_make_all_that_went_on_from_them_stale(config: str, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = load_settings(config)
    plans = []
    for days in (4, 3, 2, 1):
        plans.append(plan_of(config, ago(days)))
        finish(plans[-1])
    finish(plan_of(config, ago(4), retrieve__train__epochs=1))
    assert [stale_reasons(settings, plan) for plan in (plans[1], plans[3])] == [[], []], "a trial of other settings"
    monkeypatch.setattr("recjobs.plan.__version__", "0.2.0")
    finish(plan_of(config, ago(4)))
    anew = f"the towers of {ago(4)} were made anew by plan 3"
    assert anew in stale_reasons(settings, plans[1])
    assert f"the towers of {ago(3)}, which these went on from: {anew}" in stale_reasons(settings, plans[2])
    assert any(reason.endswith(anew) for reason in stale_reasons(settings, plans[3]))


def test_a_user_who_is_remembered_again_starts_extract_anew(config: str) -> None:
    finish(plan_of(config, ago(1)))
    folder = Path(load_settings(config).artefacts) / "forgotten"
    stone, lifted = folder / f"{'a' * 64}.json", folder / f"{'a' * 64}.lifted-0001.json"
    storage.write_bytes(str(stone), b"{}")
    assert states(plan_of(config)) is not None, "the files have been rid of the user"
    finish(plan_of(config, ago(1)))
    stone.rename(lifted)
    plan = plan_of(config)
    assert states(plan) is None
    assert any("remembered again" in note for note in plan.notes)


def test_a_gap_as_long_as_the_window_starts_anew(config: str) -> None:
    finish(plan_of(config, ago(4), time__window_days=4))
    assert states(plan_of(config, time__window_days=4)) is None
    assert states(plan_of(config, ago(1), time__window_days=4)) is not None
