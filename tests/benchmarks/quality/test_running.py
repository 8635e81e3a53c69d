"""What is run: the steps that are needed, each case and seed apart."""

from __future__ import annotations

from datetime import date

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
    roots = [
        settings_of(data_set, case, seed, {}).root
        for data_set in (BEAUTY, ONLINE_RETAIL)
        for case in (*data_set.cases, *data_set.validation)
        for seed in (17, 18)
    ]
    assert len(set(roots)) == len(roots) == 18
    assert settings_of(BEAUTY, BEAUTY.cases[0], 18, {}).seed == 18
