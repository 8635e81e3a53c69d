"""The operator: what becomes of a stage's errors, skips, and what it hands on."""

from __future__ import annotations

from datetime import date
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk import Asset
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException
from recjobs_operator import RecjobsStageOperator, give_up_without_retry

from recjobs import plan, stages
from recjobs.errors import DatabaseUnavailableError, GateRefusedError, MissingInputError

PLAN = SimpleNamespace(ds=date(2026, 11, 21), steps={"extract": None, "publish": None})


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """The steps that were run, none of them for real."""
    calls: list[tuple[str, str]] = []

    def run_step(plan_uri: str, step: str) -> str:
        calls.append((plan_uri, step))
        if step not in PLAN.steps:
            raise MissingInputError(f"{plan_uri} has no step {step!r}")
        return f"{step}/manifest.json"

    monkeypatch.setattr(plan, "load_plan", lambda _: PLAN)
    monkeypatch.setattr(stages, "run_step", run_step)
    return calls


def operator(step: str, **kwargs: Any) -> RecjobsStageOperator:
    return RecjobsStageOperator(task_id="stage", plan_uri="plan.json", step=step, **kwargs)


def test_it_runs_the_step_and_returns_its_manifest(ran: list[tuple[str, str]]) -> None:
    assert operator("extract").execute({}) == "extract/manifest.json"
    assert ran == [("plan.json", "extract")]


def test_an_optional_step_that_the_plan_has_not_is_skipped(ran: list[tuple[str, str]]) -> None:
    with pytest.raises(AirflowSkipException, match="earlier/extract"):
        operator("earlier/extract", optional=True).execute({})
    assert ran == []


def test_an_optional_step_that_the_plan_has_is_run(ran: list[tuple[str, str]]) -> None:
    assert operator("extract", optional=True).execute({}) == "extract/manifest.json"
    assert ran == [("plan.json", "extract")]


@pytest.mark.usefixtures("ran")
def test_a_missing_step_that_is_not_optional_fails() -> None:
    with pytest.raises(AirflowFailException, match=r"MissingInputError: plan\.json has no step 'compose'"):
        operator("compose").execute({})


def test_giving_up_is_not_retried_and_keeps_its_message() -> None:
    with (
        pytest.raises(AirflowFailException, match="GateRefusedError: lists are not full") as caught,
        give_up_without_retry(),
    ):
        raise GateRefusedError("lists are not full")
    assert isinstance(caught.value.__cause__, GateRefusedError)


def test_what_may_pass_is_left_to_retries() -> None:
    with pytest.raises(DatabaseUnavailableError), give_up_without_retry():
        raise DatabaseUnavailableError("the database is restarting")


@pytest.mark.usefixtures("ran")
def test_assets_are_told_the_data_date() -> None:
    lists = Asset(name="lists", uri="recjobs://lists")
    events = {lists: SimpleNamespace(extra={})}
    operator("publish", outlets=[lists]).execute({"outlet_events": events})
    assert events[lists].extra == {"ds": "2026-11-21", "manifest": "publish/manifest.json"}
