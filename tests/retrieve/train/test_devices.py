"""Two logical CPUs stand for two GPUs, which the machines of these tests do not have."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.retrieve.nights import extract_of

STEPS = """
import json, sys
from pathlib import Path
from recjobs.flow import STAGES
from recjobs.manifest import load
from recjobs.retrieve.framework import tf
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
from recjobs.retrieve.train import devices
from recjobs.retrieve.train.blueprint import blueprint
from recjobs.retrieve.train.fit import Trainer, optimizer_of
from recjobs.retrieve.train.sequences import TrainingData, sequence_files
from tests.retrieve.nights import TRAIN, settings_of

extract = load(sys.argv[1])
plain = {"dropout": 0, "unknown_id_dropout": 0, "encoder": "mean"}
settings = settings_of(Path(sys.argv[2]), **{f"retrieve__train__{name}": value for name, value in plain.items()})
config = settings.view(STAGES[TRAIN].sections)
plan = blueprint(extract, config, extract.cutoffs.train_until)
data = TrainingData(sequence_files(Path(extract.uri("sequences"))), config.retrieve.train, 1)

def losses(precision):
    tf.keras.utils.set_random_seed(1)
    model = plan.towers()
    optimizer = devices.with_precision(optimizer_of(config.retrieve.train, 100), precision)
    curves = Trainer(model, optimizer, data, 1).fit(1)
    return curves.steps, type(optimizer).__name__, [float(v.numpy()) for v in devices.scaling_of(optimizer)]

found = {"one": losses("auto")}
strategy = devices.strategy_of()
with strategy.scope():
    found["two"] = losses("float32")
    found["two, mixed"] = losses("mixed")
print(json.dumps([strategy.num_replicas_in_sync, found]))
"""


@pytest.mark.slow
def test_two_devices_and_a_scaled_loss_train_as_one_device_does(tmp_path: Path) -> None:
    extract = extract_of(tmp_path)
    manifest = tmp_path / "manifest.json"
    manifest.write_text(extract.model_dump_json())
    command = [sys.executable, "-c", STEPS, str(manifest), str(tmp_path)]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-4000:]
    replicas, found = json.loads(done.stdout.splitlines()[-1])
    assert replicas == 2
    one = found["one"][0]
    assert one[-1] < one[0]
    for other in ("two", "two, mixed"):
        assert found[other][0] == pytest.approx(one, rel=2e-3), other
    assert [kind.startswith("LossScale") for _, kind, _ in found.values()] == [False, False, True]
    assert found["two, mixed"][2][1] == len(one), "every step was counted by the loss scale"
