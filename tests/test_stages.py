"""Steps run in processes of their own: done once, complete, and harmless when killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from datetime import date, timedelta
from pathlib import Path

import psutil
import pytest

from recjobs import stages, storage
from recjobs.errors import CorruptFileError, MissingInputError, StageCrashedError
from recjobs.manifest import Cutoffs, load
from recjobs.plan import Step, load_plan, plan_run
from recjobs.publish.config import DatabaseConfig
from tests.cli.shop import NEWEST, Shop, open_shop

pytestmark = pytest.mark.usefixtures("quiet_home")


@pytest.fixture
def quiet_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    return open_shop(tmp_path, DatabaseConfig())


def plan_shop(shop: Shop) -> str:
    shop.config.write_text(shop.config.read_text().replace('[database]\nurl = ""\n', ""))
    return plan_run(str(shop.config), NEWEST)


def test_a_step_leaves_a_complete_manifest_and_is_not_done_twice(shop: Shop) -> None:
    plan = plan_shop(shop)
    uri = stages.run_step(plan, "extract")
    manifest = load(uri)
    assert (manifest.stage, manifest.ds, manifest.rows["users"]) == ("extract", NEWEST, 20)
    assert len(manifest.sources.events) == 6
    assert manifest.config["events"]["types"]["view"]["task"] == "click"
    assert manifest.timings["total"] > 0
    assert manifest.cpu_seconds > 0
    assert manifest.peak_memory_bytes > 50 << 20
    assert manifest.code_version.startswith("0.1.0+")
    written = {file.uri: storage.digest(file.uri) for file in storage.list_files(manifest.folder)}
    assert stages.run_step(plan, "extract") == uri
    assert {file.uri: storage.digest(file.uri) for file in storage.list_files(manifest.folder)} == written
    assert load(uri) == manifest


def test_a_step_without_its_inputs_says_what_to_run_first(shop: Shop) -> None:
    with pytest.raises(MissingInputError, match=r"retrieve/train of .* needs extract, which is not done"):
        stages.run_step(plan_shop(shop), "retrieve/train")


def test_a_step_that_is_not_planned_is_named(shop: Shop) -> None:
    with pytest.raises(MissingInputError, match="has no step 'extrct'; it has "):
        stages.run_step(plan_shop(shop), "extrct")


def test_an_error_keeps_its_class_across_the_process(shop: Shop) -> None:
    shop.events(NEWEST).write_bytes(b"PAR1")
    plan = plan_shop(shop)
    with pytest.raises(CorruptFileError, match=f"date={NEWEST}"):
        stages.run_step(plan, "extract")


def test_a_file_that_changed_since_the_plan_is_not_read(shop: Shop) -> None:
    plan = plan_shop(shop)
    shop.events(NEWEST).write_bytes(shop.events(NEWEST - timedelta(days=1)).read_bytes())
    with pytest.raises(MissingInputError, match="has changed since the run was planned"):
        stages.run_step(plan, "extract")


@pytest.mark.parametrize("after", [0.1, 0.5, 1.0])
def test_a_killed_step_did_not_happen_and_runs_again(shop: Shop, after: float) -> None:
    plan = plan_shop(shop)
    step = load_plan(plan).steps["extract"]
    threading.Thread(target=kill_stage, args=(after,)).start()
    with pytest.raises(StageCrashedError, match="killed by signal 9"):
        stages.run_step(plan, "extract")
    assert not storage.exists(step.manifest_uri)
    assert load(stages.run_step(plan, "extract")).rows["users"] == 20


def test_a_stage_ends_with_the_task_that_started_it(shop: Shop) -> None:
    code = f"from recjobs.stages import run_step; run_step({plan_shop(shop)!r}, 'extract')"
    task = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    stage = wait_for_stage(task.pid)
    time.sleep(2)  # past the moment at which it asks the kernel to end it
    task.kill()
    task.wait()
    assert psutil.wait_procs([stage], timeout=20)[1] == []


def stage_processes(parent: int) -> list[psutil.Process]:
    children = psutil.Process(parent).children(recursive=True)
    return [child for child in children if "recjobs.stage_process" in " ".join(child.cmdline())]


def kill_stage(after: float) -> None:
    stage = wait_for_stage(os.getpid())
    time.sleep(after)
    stage.send_signal(signal.SIGKILL)


def wait_for_stage(parent: int) -> psutil.Process:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        if found := stage_processes(parent):
            return found[0]
        time.sleep(0.05)
    raise AssertionError("the stage never started")


def test_what_a_stage_keeps_aside_goes_with_its_process_even_if_it_is_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = tmp_path / "told"
    script = (
        "import os, signal, sys, tempfile\n"
        "handle, name = tempfile.mkstemp()\n"
        f"open({str(told)!r}, 'w').write(name)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    popen = subprocess.Popen
    monkeypatch.setattr(subprocess, "Popen", lambda _, **options: popen([sys.executable, "-c", script], **options))
    step = Step(
        name="extract",
        stage="extract",
        ds=date(2026, 3, 31),
        run="r",
        run_folder=str(tmp_path),
        cutoffs=Cutoffs(train_until=date(2026, 3, 31), history_until=date(2026, 3, 31), label_days=1),
    )
    with pytest.raises(StageCrashedError, match="killed by signal 9"):
        stages._run_process("plan.json", step)
    assert not Path(told.read_text()).exists()
