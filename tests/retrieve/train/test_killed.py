"""A stage process that is killed in the middle of training: the next attempt goes on, to the same towers bit by bit."""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
from pathlib import Path

import psutil
import pytest

from recjobs.errors import StageCrashedError
from recjobs.manifest import RESUME, Manifest, load, store
from recjobs.plan import Plan, Step
from recjobs.stages import run_step
from tests.retrieve.nights import PLANTED, extract_of, settings_of

STEP = "retrieve/train"
VALIDATED = {
    "retrieve__train__encoder": "mean",
    "retrieve__train__dropout": 0.3,
    "retrieve__train__epochs": 25,
    "retrieve__train__checkpoint_minutes": 0,
    "retrieve__train__validation": {"days": 2, "patience": 25},
}


def plan_of(folder: Path, extract: Manifest, extract_uri: str, run: str) -> str:
    settings = settings_of(folder, **VALIDATED)
    run_folder = folder / "artefacts" / STEP / f"ds={extract.ds}" / run
    step = Step(
        name=STEP,
        stage=STEP,
        ds=extract.ds,
        run=run,
        run_folder=str(run_folder),
        cutoffs=extract.cutoffs,
        inputs={"extract": extract_uri},
    )
    plan = Plan(
        dataset=settings.dataset,
        config=str(folder / "planted.toml"),
        ds=extract.ds,
        sequence=1,
        digest=run,
        settings=settings.model_dump(mode="json", exclude={"database": {"url"}}),
        steps={STEP: step},
    )
    path = folder / f"plan-{run}.json"
    path.write_text(plan.model_dump_json())
    return str(path)


def kill_after_epochs(resume: Path, epochs: int) -> None:
    """Waits until so many epochs are saved, then kills the stage's process."""
    deadline = time.monotonic() + 500
    while time.monotonic() < deadline:
        saved = [int(path.parent.name[:5]) for path in resume.rglob("state.json")]
        if saved and max(saved) >= epochs:
            for process in psutil.Process().children(recursive=True):
                if "recjobs.stage_process" in process.cmdline():
                    os.kill(process.pid, signal.SIGKILL)
            return
        time.sleep(0.01)


def towers(manifest: Manifest) -> dict[str, bytes]:
    return {
        path.relative_to(manifest.folder).as_posix(): path.read_bytes()
        for path in Path(manifest.folder).rglob("*.data-00000-of-00001")
    }


@pytest.mark.slow
def test_the_next_attempt_goes_on_and_makes_the_same_towers(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    made = extract_of(tmp_path)
    extract_uri, extract = store(made, str(tmp_path / "extract"))
    whole = load(run_step(plan_of(tmp_path, extract, extract_uri, "whole"), STEP))
    plan = plan_of(tmp_path, extract, extract_uri, "cut")
    run_folder = tmp_path / "artefacts" / STEP / f"ds={PLANTED.ds}" / "cut"
    killer = threading.Thread(target=kill_after_epochs, args=(run_folder / RESUME, 3))
    killer.start()
    with pytest.raises(StageCrashedError, match="signal 9"):
        run_step(plan, STEP)
    killer.join()
    assert not (run_folder / "manifest.json").exists()
    caplog.clear()
    resumed = load(run_step(plan, STEP))
    gone_on = [line for line in caplog.messages if "going on after epoch" in line]
    assert len(gone_on) == 1
    assert 3 <= int(gone_on[0].split("epoch ")[1].split(",")[0]) < 25
    assert towers(resumed) == towers(whole)
    assert len(towers(whole)) == 3
    assert resumed.metrics == whole.metrics
    assert resumed.metrics["validation_ndcg"] > 0
    assert not (run_folder / RESUME).exists()
    assert not (Path(whole.folder).parent / RESUME).exists()
