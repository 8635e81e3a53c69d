"""What is run: the steps that are needed, each case and seed apart."""

from __future__ import annotations

from datetime import date, timedelta

import pytest

from benchmarks.quality import running
from benchmarks.quality.cases import BEAUTY, ONLINE_RETAIL
from benchmarks.quality.running import COMPOSE, SEARCH, needed_steps, settings_of
from recjobs.manifest import cutoffs_of
from recjobs.plan import Plan, Step

DS = date(2026, 1, 1)
READS = {
    "extract": (),
    "earlier/extract": (),
    "earlier/retrieve/search": ("earlier/extract",),
    "retrieve/train": ("extract",),
    "retrieve/search": ("extract", "retrieve/train"),
    "rank/train": ("extract", "earlier/retrieve/search"),
    "compose": ("extract", "retrieve/search", "rank/train"),
    "publish": ("compose",),
}


def plan() -> Plan:
    cutoffs = cutoffs_of(DS, train_lag_days=0, history_lag_days=0, label_days=1)

    def step(name: str, reads: tuple[str, ...]) -> Step:
        inputs = {read: f"/root/{read}/manifest.json" for read in reads} | {"pinned": "/elsewhere/manifest.json"}
        return Step(name=name, stage=name, ds=DS, run="r", run_folder=f"/root/{name}", cutoffs=cutoffs, inputs=inputs)

    steps = {name: step(name, reads) for name, reads in READS.items()}
    return Plan(dataset="d", config="c", ds=DS, sequence=1, digest="x", settings={}, steps=steps)


def test_only_what_the_step_needs_is_run_in_the_plan_s_order() -> None:
    assert needed_steps(plan(), SEARCH) == ["extract", "retrieve/train", "retrieve/search"]
    assert needed_steps(plan(), COMPOSE) == [name for name in READS if name != "publish"]


def test_no_two_cases_or_seeds_share_artefacts() -> None:
    cases = (*BEAUTY.cases, *BEAUTY.validation)
    roots = [settings_of(BEAUTY, case, seed, {}).root for case in cases for seed in (17, 18)]
    assert len(set(roots)) == len(roots) == 6
    assert settings_of(BEAUTY, BEAUTY.cases[0], 18, {}).seed == 18


def test_dates_of_one_history_share_what_the_same_settings_make() -> None:
    cases = (*ONLINE_RETAIL.cases, *ONLINE_RETAIL.validation)
    assert len({settings_of(ONLINE_RETAIL, case, 17, {}).root for case in cases}) == 1
    first = cases[0]
    plain, seed, ranker, retrieval = (
        settings_of(ONLINE_RETAIL, first, seed, overrides).root
        for seed, overrides in ((17, {}), (18, {}), (17, {"rank.train.epochs": 1}), (17, {"retrieve.train.epochs": 1}))
    )
    assert plain == ranker
    assert len({plain, seed, retrieval}) == 3


def test_the_weeks_before_are_run_first_where_the_ranker_learns_from_them(monkeypatch: pytest.MonkeyPatch) -> None:
    ran: list[tuple[date, str]] = []
    monkeypatch.setattr(running, "plan_run", lambda _, ds, __: str(ds))
    monkeypatch.setattr(running, "load_plan", lambda _: plan())
    monkeypatch.setattr(running, "run_step", lambda uri, step: ran.append((date.fromisoformat(uri), step)))
    monkeypatch.setattr(running, "load", lambda _: None)
    case = ONLINE_RETAIL.cases[0]
    running.run_case(ONLINE_RETAIL, case, 17, {"rank.train.label_windows": 2}, COMPOSE)
    assert list(dict.fromkeys(ds for ds, _ in ran)) == [case.ds - timedelta(days=days) for days in (14, 7, 0)]
    assert {step for ds, step in ran if ds < case.ds} == {"extract", "retrieve/train", "retrieve/search"}
