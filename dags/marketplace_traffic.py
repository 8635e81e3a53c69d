"""
### Marketplace traffic

Plays the app of the demo each day, so that the generated marketplace lives on: its users look at the lists that
are live, follow their own tastes, and their events of the **data date** are written where
`nightly_recommendations` waits for them. Days that were missed (the demo was down) are played first, in order.
A day that has events is never written again.

#### For the person on call

Only the demo needs this DAG. A failure can always wait; clear the task to play the day.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from airflow.sdk import Asset, CronDataIntervalTimetable, Param, dag, get_current_context, task
from recjobs_dates import data_date
from recjobs_operator import give_up_without_retry

EVENTS = Asset(name="marketplace_events", uri="recjobs://marketplace/events")


@task(outlets=[EVENTS])
def play_missing_days() -> list[str]:
    """Writes the events of each day up to the data date that has none; returns those days."""
    from recjobs.airflow.marketplace import play_until

    context = get_current_context()
    with give_up_without_retry():
        ds = data_date(context)
        played = play_until(ds, context["params"]["config"])
    context["outlet_events"][EVENTS].extra = {"ds": str(ds)}
    return [str(day) for day in played]


@dag(
    dag_id="marketplace_traffic",
    doc_md=__doc__,
    schedule=CronDataIntervalTimetable("0 0 * * *", timezone="UTC"),
    start_date=datetime(2000, 1, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=1,
    params={
        "config": Param(
            "marketplace",
            type="string",
            minLength=1,
            title="Config",
            description="The generated marketplace's config: a shipped name or the path of a TOML file.",
        ),
        "ds": Param(
            None,
            type=["null", "string"],
            format="date",
            title="Data date",
            description="The UTC day to play. Empty: the last complete day of the run's data interval.",
        ),
    },
    tags=["demo"],
    default_args={"owner": "recommendations", "retries": 2, "retry_delay": timedelta(minutes=1)},
)
def marketplace_traffic() -> None:
    """One task."""
    play_missing_days()


marketplace_traffic()
