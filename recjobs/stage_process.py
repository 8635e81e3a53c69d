"""The process of one stage: `python -m recjobs.stage_process PLAN STEP FAILURE_FILE`. Started by `recjobs.stages`."""

from __future__ import annotations

import ctypes
import importlib
import json
import logging
import resource
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from recjobs import __version__, storage, tombstones
from recjobs.errors import InputsRewrittenError, RecjobsError, to_record
from recjobs.flow import STAGES, code_digest
from recjobs.forgetting.output import catch_up, rewritten, scrubbed
from recjobs.manifest import RESUME, InputRef, Inputs, Manifest, Output, digest_of, load, store
from recjobs.memory import peak_bytes
from recjobs.plan import Plan, Step, load_plan, recipe_settings
from recjobs.settings import Settings
from recjobs.stages import find_step

_PR_SET_PDEATHSIG = 1

logger = logging.getLogger("recjobs")


def main(argv: Sequence[str]) -> int:
    """Runs the step and stores its manifest. Returns the exit code; a `RecjobsError` goes to the failure file."""
    plan_uri, name, failure = argv
    _end_with_parent()
    logging.basicConfig(level=logging.INFO, stream=sys.stdout, format="%(message)s")
    # Libraries tell of their own life at INFO; ours is what the reader is here for.
    logging.getLogger().setLevel(logging.WARNING)
    logger.setLevel(logging.INFO)
    try:
        plan = load_plan(plan_uri)
        perform(plan, find_step(plan, plan_uri, name))
    except RecjobsError as error:
        Path(failure).write_text(json.dumps(to_record(error), default=str))
        return error.exit_code
    return 0


def perform(plan: Plan, step: Step) -> Manifest:
    """Runs the step in this process; returns the manifest that counts (another attempt may have been first).

    What a failed attempt wrote is removed. Users who are forgotten while it runs are in nothing that counts.

    Raises:
        InputsRewrittenError: it failed, and somebody was forgotten while it read: its inputs stand elsewhere now.
        RecjobsError: whatever the stage raised.
    """
    started = time.perf_counter()
    stage = STAGES[step.stage]
    settings = plan.stage_settings()
    loaded = {name: load(uri) for name, uri in step.inputs.items()}
    inputs = Inputs(step.ds, step.cutoffs, loaded, step.sources, tombstones.folder_of(settings.artefacts))
    out = Output(step.stage, step.ds, step.run, step.cutoffs, step.run_folder)
    logger.info("%s of %s starts (%s)", step.stage, step.ds, step.run)
    with storage.holding(out.folder):
        try:
            made: Manifest = importlib.import_module(stage.module).run(inputs, settings.view(stage.sections), out)
            complete = scrubbed(_completed(made, step, settings, started), settings, loaded, step.sources)
        except BaseException as error:
            _remove(out.folder)
            if isinstance(error, Exception) and rewritten(loaded, step.inputs):
                raise InputsRewrittenError(f"{step.stage} of {step.ds}: somebody was forgotten meanwhile.") from error
            raise
        _, winner = store(complete, step.run_folder)
    _remove(storage.join(step.run_folder, RESUME))
    catch_up(winner, settings, step.run_folder)
    logger.info("%s of %s done in %.1f s: %s", step.stage, step.ds, complete.timings["total"], _counts(complete))
    return winner


def _completed(made: Manifest, step: Step, settings: Settings, started: float) -> Manifest:
    return made.model_copy(
        update={
            "inputs": {name: _pin(uri) for name, uri in step.inputs.items()},
            "sources": step.sources,
            "config": recipe_settings(settings, step.stage),
            "code_version": f"{__version__}+{code_digest(step.stage)}",
            "timings": {**made.timings, "total": round(time.perf_counter() - started, 3)},
            "cpu_seconds": _cpu_seconds(),
            "peak_memory_bytes": _peak_memory_bytes(),
        }
    )


def _remove(folder: str) -> None:
    """Removes files that count for nothing, of a failed attempt or to go on from: failing here must not hide why."""
    try:
        storage.delete_folder(folder)
    except (RecjobsError, OSError) as error:
        logger.warning("%s: what does not count could not be removed (%s)", folder, error)


def _pin(uri: str) -> InputRef:
    return InputRef(uri=uri, digest=digest_of(storage.read_bytes(uri)))


def _counts(manifest: Manifest) -> str:
    return ", ".join(f"{count:,} {name}" for name, count in manifest.rows.items())


def _cpu_seconds() -> float:
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return round(sum(usage.ru_utime + usage.ru_stime for usage in usages), 3)


def _peak_memory_bytes() -> int:
    return max(peak_bytes(), 1024 * resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)


def _end_with_parent() -> None:
    """A stage whose task was killed has nobody to report to: the kernel ends it too."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
