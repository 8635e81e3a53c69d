"""
### Nightly recommendations

Retrains, scores every user, checks the result and switches the app to the new lists. One run is for one
**data date**, the last complete UTC day. If anything is wrong the lists that are live stay live, so nothing
here needs anybody at night.

1. **wait_for_events**: waits until the data date's events have arrived, and says which date is missing.
2. **plan**: pins the exact files and earlier artefacts that the run will read. Nothing later is looked at.
3. **extract**: checks the events, builds histories, counts and training sequences.
4. **earlier**: only where no earlier candidates exist (a first run): extracts, trains and retrieves as of
   `label_days` before, so that the ranker can learn from outcomes it has not seen. Skipped otherwise.
5. **retrieve_train**, **retrieve_search**: trains the two towers; finds every user's candidates.
6. **rank_train**, **rank_score**: trains the ranker on earlier candidates and what followed; scores tonight's.
7. **compose**: rules, fallbacks and reasons; every user gets a full list.
8. **evaluate**: judges earlier lists on what happened since; the gate refuses tonight's if they are not whole.
9. **publish**: loads the lists to the side, checks them, and makes them live in one transaction.

#### For the person on call

- **Everything before `publish` can wait until the morning.** The app goes on reading last night's lists.
- *wait_for_events is waiting*: events are late. It gives up after twelve hours; once they are there, clear it.
- *evaluate failed (GateRefusedError)*: tonight's lists were refused. Read the report that the message names.
  Don't force them live: fix the input and clear the run.
- *publish failed*: the live lists are untouched. If the database was down, clear the task when it is back.
- Any other failure names the value, the place and the fix. Clearing a failed task is always safe: finished stages
  are not run again, and the same inputs give the same result.
- Bad lists are live: `recjobs rollback` goes back to the lists before them in under a second.

More in `docs/operations.md`.
"""

from __future__ import annotations

import logging
import os
from datetime import UTC, datetime, timedelta
from typing import Any

from airflow.sdk import (
    Asset,
    CronDataIntervalTimetable,
    Param,
    TriggerRule,
    chain,
    dag,
    get_current_context,
    task,
    task_group,
)
from recjobs_dates import data_date
from recjobs_operator import RecjobsStageOperator, give_up_without_retry

from recjobs.flow import EARLIER, EARLIER_STAGES, STAGES

log = logging.getLogger(__name__)

PUBLISHED_LISTS = Asset(name="recommendation_lists", uri="recjobs://lists")
EVENTS_MAY_BE_LATE_BY = timedelta(hours=12)

PARAMS = {
    "config": Param(
        os.environ.get("RECJOBS_CONFIG", "marketplace"),
        type="string",
        minLength=1,
        title="Config",
        description="A shipped config (marketplace, online-retail, sequences) or the path of a TOML file.",
    ),
    "ds": Param(
        None,
        type=["null", "string"],
        format="date",
        title="Data date",
        description="The UTC day to run for. Empty: the last complete day of the run's data interval.",
    ),
    "overrides": Param(
        {},
        type=["object", "null"],
        title="Overrides",
        description='Dotted settings for this run alone, e.g. {"retrieve.train.epochs": 2}.',
    ),
}


@task.sensor(mode="reschedule", poke_interval=60, timeout=EVENTS_MAY_BE_LATE_BY.total_seconds())
def wait_for_events() -> bool:
    """Whether the data date's events have arrived."""
    from recjobs.errors import NotArrivedError
    from recjobs.settings import load_settings
    from recjobs.sources.pinning import pin_sources

    context = get_current_context()
    params = context["params"]
    with give_up_without_retry():
        ds = data_date(context)
        try:
            pin_sources(load_settings(params["config"], params["overrides"]), ds)
        except NotArrivedError as error:
            log.warning("waiting for the events of %s: %s", ds, error)
            return False
    log.info("the events of %s are there", ds)
    return True


@task
def plan() -> str:
    """Pins what the run will read; returns the plan's URI."""
    from recjobs.plan import plan_run

    context = get_current_context()
    params = context["params"]
    with give_up_without_retry():
        ds = data_date(context)
        log.info("data date %s, config %s", ds, params["config"])
        return plan_run(params["config"], ds, params["overrides"])


def stage(step: str, plan_uri: Any, prefix: str = "", **kwargs: Any) -> RecjobsStageOperator:
    """The task of one step; slashes can't stand in a task's id."""
    return RecjobsStageOperator(task_id=step.replace("/", "_"), step=prefix + step, plan_uri=plan_uri, **kwargs)


@task_group
def earlier(plan_uri: Any) -> None:
    """The past that a first run simulates; each step that the plan does without is skipped."""
    chain(
        *(
            stage(step, plan_uri, f"{EARLIER}/", optional=True, trigger_rule=TriggerRule.NONE_FAILED)
            for step in EARLIER_STAGES
        )
    )


@dag(
    dag_id="nightly_recommendations",
    doc_md=__doc__,
    # A plain cron string has an empty data interval in Airflow 3. Midnight makes it the UTC day.
    schedule=CronDataIntervalTimetable("0 0 * * *", timezone="UTC"),
    start_date=datetime(2000, 1, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=1,
    params=PARAMS,
    tags=["recommendations"],
    default_args={
        "owner": "recommendations",
        "retries": 3,
        "retry_delay": timedelta(minutes=1),
        "retry_exponential_backoff": 2,
        "max_retry_delay": timedelta(minutes=30),
    },
)
def nightly_recommendations() -> None:
    """Arrows only; the work is in `recjobs`."""
    plan_uri = plan()
    wait_for_events() >> plan_uri
    extract, train, *later, publish = STAGES
    chain(
        # First, so that a fault in tonight's input is told before anything is trained.
        stage(extract, plan_uri),
        earlier(plan_uri),
        # Goes on when the earlier steps were skipped, not when one failed.
        stage(train, plan_uri, trigger_rule=TriggerRule.NONE_FAILED),
        *(stage(step, plan_uri) for step in later),
        # The arrow that must never be lost: nothing is published before `evaluate` has passed it.
        stage(publish, plan_uri, outlets=[PUBLISHED_LISTS]),
    )


nightly_recommendations()
