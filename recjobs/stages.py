"""Runs one step of a plan, in a process of its own, or finds that it was done.

Used alike by the command line and by the DAG. The process ends with the stage, and with it go the
memory and TensorFlow's globals; what it logs is passed on line by line.
"""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from recjobs import storage
from recjobs.errors import InputsRewrittenError, MissingInputError, RecjobsError, StageCrashedError, from_record
from recjobs.flow import PUBLISH
from recjobs.manifest import Manifest, load
from recjobs.plan import Plan, Step, load_plan

LAST_LINES = 12
"""Lines of a crashed process's output that its error repeats."""

logger = logging.getLogger(__name__)


def run_step(plan_uri: str, step: str) -> str:
    """Runs step `step` of the plan at `plan_uri`; returns the URI of its manifest.

    A step whose manifest is there is skipped. Publishing always runs: only the database knows what
    it holds, and publishing the same lists again changes nothing.

    Raises:
        GateRefusedError: the stage finished, and a check of its own refuses the result.
        StageCrashedError: its process ended without a verdict.
        RecjobsError: whatever the stage raised, with its own class.
    """
    planned = find_step(load_plan(plan_uri), plan_uri, step)
    if planned.stage != PUBLISH and storage.exists(planned.manifest_uri):
        logger.info("%s of %s: done before, skipped (%s)", planned.stage, planned.ds, planned.run)
    else:
        _require_inputs(planned)
        _run_until_read(plan_uri, planned)
    load(planned.manifest_uri).raise_if_refused()
    return planned.manifest_uri


def manifest_of(plan: Plan, step: str) -> Manifest | None:
    """The manifest of a step of `plan`, or None while it is not done."""
    uri = plan.steps[step].manifest_uri
    return load(uri) if storage.exists(uri) else None


def find_step(plan: Plan, plan_uri: str, step: str) -> Step:
    """The step of that name.

    Raises:
        MissingInputError: the plan has none of that name.
    """
    if step not in plan.steps:
        raise MissingInputError(f"{plan_uri} has no step {step!r}; it has {list(plan.steps)}.", step=step)
    return plan.steps[step]


def _require_inputs(step: Step) -> None:
    for name, uri in step.inputs.items():
        if not storage.exists(uri):
            raise MissingInputError(
                f"{step.name} of {step.ds} needs {name}, which is not done: {uri} is not there. Run that stage first.",
                step=step.name,
                input=name,
            )


def _run_until_read(plan_uri: str, step: Step) -> None:
    """Runs the step, and again where somebody was forgotten while it read: its inputs stand elsewhere then."""
    while True:
        try:
            return _run_process(plan_uri, step)
        except InputsRewrittenError as error:
            logger.info("%s It is started again.", error)


def _run_process(plan_uri: str, step: Step) -> None:
    with tempfile.TemporaryDirectory(prefix="recjobs-") as scratch:
        failure = Path(scratch) / "failure.json"
        command = [sys.executable, "-m", "recjobs.stage_process", plan_uri, step.name, str(failure)]
        process = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            # Its own copies of users' rows lie here too, and go with it, also when it is killed.
            env=_environment(step.stage) | {"TMPDIR": scratch},
        )
        try:
            last_lines = _pass_on(process)
            code = process.wait()
        finally:
            if process.poll() is None:
                process.terminate()
                process.wait()
        if code != 0:
            raise _error_of(step, code, failure, last_lines)


def _environment(stage: str) -> dict[str, str]:
    # TFRS needs the legacy Keras, chosen before TensorFlow is imported; below level 3 TensorFlow calls it an
    # error that there is no GPU.
    quiet = {"TF_USE_LEGACY_KERAS": "1", "TF_CPP_MIN_LOG_LEVEL": "3", "PYTHONUNBUFFERED": "1"}
    # oneDNN's matrix products make a training step about 1.2 times as fast, and are the same from run to run
    # (tests/retrieve/train/test_killed.py compares bit by bit). Elsewhere little is multiplied: plain kernels.
    kernels = "1" if stage == "retrieve/train" else "0"
    return {**os.environ, **quiet, "TF_ENABLE_ONEDNN_OPTS": os.environ.get("TF_ENABLE_ONEDNN_OPTS", kernels)}


def _pass_on(process: subprocess.Popen[str]) -> list[str]:
    assert process.stdout is not None
    lines: list[str] = []
    for line in process.stdout:
        logger.info("%s", line.rstrip())
        lines = [*lines[1 - LAST_LINES :], line.rstrip()]
    return lines


def _error_of(step: Step, code: int, failure: Path, last_lines: list[str]) -> RecjobsError:
    if failure.exists():
        return from_record(json.loads(failure.read_text()))
    ending = f"killed by signal {-code}" if code < 0 else f"exit code {code}"
    hint = " Out of memory is the usual cause." if code == -9 else ""
    said = "\n  ".join(last_lines)
    return StageCrashedError(
        f"{step.stage} of {step.ds}: its process ended without a verdict ({ending}).{hint} It said last:\n  {said}",
        stage=step.stage,
        ds=str(step.ds),
        code=code,
    )
