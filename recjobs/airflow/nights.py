"""Runs `nightly_recommendations` for given data dates through Airflow, in this process, task by task.

`python -m recjobs.airflow.nights CONFIG RESULT_FILE DATE…`, in the environment of an `AirflowHome`. Runs, task
states and XComs are in Airflow's database afterwards, as after any other run.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import BaseModel

from recjobs.airflow.home import AirflowHome, airflow_home

if TYPE_CHECKING:
    from airflow.models.dagrun import DagRun
    from airflow.sdk import DAG

logger = logging.getLogger("recjobs.airflow.nights")  # this module runs as __main__

DAG_ID = "nightly_recommendations"
SUCCESS = "success"


class Task(BaseModel):
    """How one task of a night went."""

    name: str
    state: str
    seconds: float


class Night(BaseModel):
    """How the run for one data date went, its tasks in the order they started."""

    ds: date
    run_id: str
    state: str
    seconds: float
    tasks: list[Task]


class Nights(BaseModel):
    """The result file."""

    nights: list[Night] = []


def main(argv: Sequence[str]) -> int:
    """Runs the dates in order; stops at the first that fails. Exit code 1 then."""
    config, result, *dates = argv
    home = airflow_home()
    home.enter()
    home.migrate()
    dag = _load(home)
    done = Nights()
    for text in dates:
        done.nights.append(run_night(dag, date.fromisoformat(text), config))
        Path(result).write_text(done.model_dump_json())
        if done.nights[-1].state != SUCCESS:
            return 1
    return 0


def run_night(dag: DAG, ds: date, config: str) -> Night:
    """Runs `dag` for `ds` until it has succeeded or failed."""
    logger.info("the night of %s", ds)
    run: DagRun = dag.test(logical_date=logical_date(ds), run_conf={"config": config})
    return _night(run, ds)


def logical_date(ds: date) -> datetime:
    """The logical date of a manual run whose data interval is the day `ds`.

    Airflow gives a manual run the interval that ended last before its logical date. The first second
    of the next day, not midnight: that is the logical date of the next day's scheduled run, and a
    DAG has at most one run for each.
    """
    return datetime.combine(ds + timedelta(days=1), time(0, 0, 1), tzinfo=UTC)


def _load(home: AirflowHome) -> DAG:
    from airflow.dag_processing.dagbag import DagBag

    bag = DagBag(str(home.checkout / "dags"))
    if DAG_ID not in bag.dags:
        raise RuntimeError(f"{DAG_ID} could not be loaded: {bag.import_errors}")
    return bag.dags[DAG_ID]


def _night(run: DagRun, ds: date) -> Night:
    from airflow.utils.session import create_session

    with create_session() as session:
        run = session.merge(run)
        timed = [
            (task.start_date, task.end_date, task)
            for task in run.get_task_instances(session=session)
            if task.start_date and task.end_date
        ]
        timed.sort(key=lambda entry: entry[0])
        # `dag.test` takes the logical date for the start, and the UI would show a run of many hours.
        run.start_date = timed[0][0]
        return Night(
            ds=ds,
            run_id=run.run_id,
            state=run.state,
            seconds=(max(end for _, end, _ in timed) - run.start_date).total_seconds(),
            tasks=[
                Task(name=task.task_id, state=str(task.state), seconds=(end - start).total_seconds())
                for start, end, task in timed
            ],
        )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
