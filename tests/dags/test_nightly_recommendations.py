"""The nightly DAG: arrows that must never be lost, and whole runs of it with stages that do nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import date, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.dag_processing.bundles.manager import DagBundlesManager
from airflow.dag_processing.dagbag import BundleDagBag, DagBag, sync_bag_to_db
from airflow.models.dag import DagModel
from airflow.models.dagrun import DagRun
from airflow.models.errors import ParseImportError
from airflow.sdk import DAG
from airflow.utils.session import create_session
from sqlalchemy import select

from recjobs import plan, settings, stages
from recjobs.airflow.nights import logical_date
from recjobs.errors import DatabaseUnavailableError, GateRefusedError, NotArrivedError
from recjobs.flow import EARLIER_STAGES, STAGES
from recjobs.sources import pinning
from tests.airflow_environment import CHECKOUT, HOME

DS = date(2026, 11, 21)
EARLIER_TASKS = {f"earlier.{stage.replace('/', '_')}" for stage in EARLIER_STAGES}


@pytest.fixture
def dag() -> DAG:
    return DagBag(str(CHECKOUT / "dags")).dags["nightly_recommendations"]


def task_of(stage: str) -> str:
    return stage.replace("/", "_")


def before(dag: DAG, task: str) -> set[str]:
    """Every task that `task` comes after."""
    return {upstream.task_id for upstream in dag.get_task(task).get_flat_relatives(upstream=True)}


def test_nothing_is_published_before_it_was_evaluated(dag: DAG) -> None:
    assert "evaluate" in dag.get_task("publish").upstream_task_ids
    assert dag.get_task("publish").trigger_rule == "all_success"


def test_every_stage_comes_after_the_plan_and_the_plan_after_the_events(dag: DAG) -> None:
    assert dag.get_task("plan").upstream_task_ids == {"wait_for_events"}
    stages_in_dag = set(dag.task_ids) - {"wait_for_events", "plan"}
    assert stages_in_dag == EARLIER_TASKS | {task_of(stage) for stage in STAGES}
    assert all("plan" in dag.get_task(task).upstream_task_ids for task in stages_in_dag)


@pytest.mark.parametrize("stage", STAGES.values(), ids=list(STAGES))
def test_a_stage_comes_after_all_it_reads(dag: DAG, stage: Any) -> None:
    for name in stage.inputs:
        task = f"earlier.{task_of(name.removeprefix('earlier/'))}" if name.startswith("earlier/") else task_of(name)
        assert task in before(dag, task_of(stage.name)), f"{stage.name} reads {name}"


def test_only_skipped_earlier_steps_are_passed_over(dag: DAG) -> None:
    lenient = {task.task_id for task in dag.tasks if task.trigger_rule != "all_success"}
    assert lenient == EARLIER_TASKS | {"retrieve_train"}
    assert all(dag.get_task(task).trigger_rule == "none_failed" for task in lenient)


# -- whole runs, in this process, with everything below the DAG replaced


@pytest.fixture(scope="module")
def migrated() -> None:
    HOME.migrate()


class Nights:
    """Stands in for planning and stages, and remembers what it was asked."""

    def __init__(self) -> None:
        self.planned: list[tuple[str, date, Any]] = []
        self.steps: list[str] = []
        self.errors: dict[str, Iterator[Exception]] = {}
        self.plan_has: set[str] = set(STAGES)

    def plan_run(self, config: str, ds: date, overrides: Any) -> str:
        self.planned.append((config, ds, overrides))
        return f"plan of {ds}"

    def load_plan(self, uri: str) -> SimpleNamespace:
        return SimpleNamespace(ds=uri.removeprefix("plan of "), steps=self.plan_has)

    def run_step(self, plan_uri: str, step: str) -> str:
        self.steps.append(step)
        self._fail(step)
        return f"{plan_uri}: {step}"

    def pin_sources(self, _settings: Any, ds: date) -> None:
        self._fail(f"events of {ds}")

    def _fail(self, name: str) -> None:
        if error := next(self.errors.get(name, iter(())), None):
            raise error


@pytest.fixture
def nights(migrated: None, monkeypatch: pytest.MonkeyPatch) -> Nights:  # noqa: ARG001
    fake = Nights()
    monkeypatch.setattr(plan, "plan_run", fake.plan_run)
    monkeypatch.setattr(plan, "load_plan", fake.load_plan)
    monkeypatch.setattr(stages, "run_step", fake.run_step)
    monkeypatch.setattr(pinning, "pin_sources", fake.pin_sources)
    monkeypatch.setattr(settings, "load_settings", lambda *_: None)
    return fake


@pytest.fixture
def run(dag: DAG) -> Callable[..., DagRun]:
    """Runs the DAG to its end, without pauses between tries."""
    for task in dag.tasks:
        task.retry_delay = timedelta(0)
        task.retry_exponential_backoff = 0
    dag.get_task("wait_for_events").poke_interval = 0.1

    def run_dag(**conf: Any) -> DagRun:
        return dag.test(logical_date=logical_date(DS), run_conf=conf)

    return run_dag


def states(run: DagRun) -> dict[str, str]:
    return {task.task_id: str(task.state) for task in run.get_task_instances()}


def tries(run: DagRun, task: str) -> int:
    (found,) = [instance.try_number for instance in run.get_task_instances() if instance.task_id == task]
    return found


def test_a_usual_night_skips_the_earlier_steps_and_runs_the_others_in_order(
    nights: Nights, run: Callable[..., DagRun]
) -> None:
    done = run()
    assert done.state == "success"
    assert {task for task, state in states(done).items() if state == "skipped"} == EARLIER_TASKS
    assert nights.steps == list(STAGES)
    assert nights.planned == [("marketplace", DS, {})]


def test_a_first_night_makes_the_past_before_it_trains(nights: Nights, run: Callable[..., DagRun]) -> None:
    earlier = [f"earlier/{stage}" for stage in EARLIER_STAGES]
    nights.plan_has |= set(earlier)
    done = run()
    assert set(states(done).values()) == {"success"}
    extract, *rest = STAGES
    assert nights.steps == [extract, *earlier, *rest]


def test_a_refused_night_fails_at_once_and_publishes_nothing(nights: Nights, run: Callable[..., DagRun]) -> None:
    nights.errors["evaluate"] = iter([GateRefusedError("lists are not full")] * 9)
    done = run()
    assert done.state == "failed"
    assert states(done)["evaluate"] == "failed"
    assert states(done)["publish"] == "upstream_failed"
    assert tries(done, "evaluate") == 1
    assert "publish" not in nights.steps


def test_a_database_that_restarts_is_tried_again(nights: Nights, run: Callable[..., DagRun]) -> None:
    nights.errors["publish"] = iter([DatabaseUnavailableError("restarting")] * 2)
    done = run()
    assert done.state == "success"
    assert nights.steps.count("publish") == 3


def test_events_that_have_not_arrived_are_waited_for_by_name(
    nights: Nights, run: Callable[..., DagRun], caplog: pytest.LogCaptureFixture
) -> None:
    nights.errors[f"events of {DS}"] = iter([NotArrivedError("events of 2026-11-21 have not arrived")])
    with caplog.at_level("WARNING"):
        done = run()
    assert done.state == "success"
    assert "waiting for the events of 2026-11-21" in caplog.text


def test_the_form_chooses_config_date_and_settings(nights: Nights, run: Callable[..., DagRun]) -> None:
    overrides = {"retrieve.train.epochs": 2}
    done = run(config="online-retail", ds="2011-10-17", overrides=overrides)
    assert done.state == "success"
    assert nights.planned == [("online-retail", date(2011, 10, 17), overrides)]


@pytest.mark.usefixtures("migrated")
def test_airflow_lists_no_import_errors() -> None:
    dags = CHECKOUT / "dags"
    with create_session() as session:
        DagBundlesManager().sync_bundles_to_db(session=session)
    sync_bag_to_db(BundleDagBag(dag_folder=dags, bundle_path=dags, bundle_name="dags-folder"), "dags-folder", None)
    with create_session() as session:
        assert set(session.scalars(select(DagModel.dag_id))) >= {"nightly_recommendations", "marketplace_traffic"}
        assert session.scalars(select(ParseImportError)).all() == []
