"""The operator that runs one stage of a plan as one Airflow task."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

from airflow.sdk import BaseOperator, Context
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException
from pydantic import JsonValue

from recjobs.errors import GiveUpError


@contextlib.contextmanager
def give_up_without_retry() -> Iterator[None]:
    """Turns our give-up errors into Airflow's failure that is not retried; all others pass through."""
    try:
        yield
    except GiveUpError as error:
        raise AirflowFailException(f"{type(error).__name__}: {error}") from error


class RecjobsStageOperator(BaseOperator):
    """Runs `step` of the plan at `plan_uri` and returns the URI of its manifest.

    The stage works in a process of its own and its log lines appear in the task's log. Where its
    manifest is there already, it is not run again. An `optional` step that the plan does not have
    (the earlier stages, which only a first run needs) is skipped; a missing step that is not
    optional fails.
    """

    template_fields: Sequence[str] = ("plan_uri",)
    ui_color = "#d6e9f8"

    def __init__(self, *, plan_uri: str, step: str, optional: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.plan_uri = plan_uri
        self.step = step
        self.optional = optional

    def execute(self, context: Context) -> str:
        """Runs the step.

        Raises:
            AirflowSkipException: the step is optional and the plan does without it.
            AirflowFailException: the stage gave up, so that trying again can't help.
            RetryableError: the stage may succeed on another try.
        """
        from recjobs.plan import load_plan
        from recjobs.stages import run_step

        with give_up_without_retry():
            if self.optional and self.step not in load_plan(self.plan_uri).steps:
                raise AirflowSkipException(f"{self.step}: this plan needs no earlier artefacts.")
            manifest_uri = run_step(self.plan_uri, self.step)
        for asset in self.outlets:
            context["outlet_events"][asset].extra = self._announcement(manifest_uri)
        return manifest_uri

    def _announcement(self, manifest_uri: str) -> dict[str, JsonValue]:
        """What consumers of this task's assets are told: the data date is what they must look at."""
        from recjobs.plan import load_plan

        return {"ds": str(load_plan(self.plan_uri).ds), "manifest": manifest_uri}
