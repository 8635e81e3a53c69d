from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from recjobs.errors import ModelError
from recjobs.retrieve.framework import tf
from recjobs.retrieve.search.towers import Tower, item_vectors, tower_facts, user_vectors
from recjobs.retrieve.user_features import list_time
from tests.planted import Planted, planted_events, planted_extract, planted_settings
from tests.retrieve.nights import Night, extract_of, settings_of, train

RELOAD = """
import sys
from pathlib import Path
import numpy as np
from recjobs.retrieve.search.towers import Tower, item_vectors
np.save(sys.argv[3], item_vectors(Tower(Path(sys.argv[1])), int(sys.argv[2])))
"""


def test_towers_give_the_same_vectors_in_another_process(night: Night, tmp_path: Path) -> None:
    folder, items = night.train.uri("item_tower"), night.train.rows["items"]
    here = item_vectors(Tower(Path(folder)), items)
    command = [sys.executable, "-c", RELOAD, folder, str(items), str(tmp_path / "v.npy")]
    subprocess.run(command, check=True, capture_output=True)
    assert np.array_equal(np.load(tmp_path / "v.npy"), here)
    assert np.linalg.norm(here, axis=1) == pytest.approx(np.ones(items), abs=1e-5)


def test_manifest_and_curves_tell_the_training(night: Night) -> None:
    curves = json.loads(Path(night.train.uri("curves.json")).read_text())
    assert len(curves["epochs"]) == 12
    assert curves["epochs"][-1]["loss"] == pytest.approx(night.train.metrics["loss"])
    assert curves["epochs"][-1]["loss"] < 0.9 * curves["epochs"][0]["loss"]
    assert len(curves["steps"]) == night.train.rows["steps"]
    assert Path(night.train.uri("curves.png")).read_bytes()[1:4] == b"PNG"
    assert all(check.passed for check in night.train.checks)
    assert night.train.rows["items"] == 60
    assert night.train.rows["warm_items"] == 54
    assert Path(night.train.uri("checkpoint", "towers.index")).is_file()


def test_the_same_inputs_give_the_same_towers(night: Night, tmp_path: Path) -> None:
    again = train(night.extract, night.settings, tmp_path)
    items = night.train.rows["items"]
    first, second = (item_vectors(Tower(Path(done.uri("item_tower"))), items) for done in (night.train, again))
    assert np.array_equal(first, second)
    assert again.metrics["loss"] == night.train.metrics["loss"]


@pytest.mark.slow
def test_a_recurrent_tower_trains_in_batch_and_serves(night: Night, tmp_path: Path) -> None:
    settings = settings_of(
        tmp_path, retrieve__train__encoder="gru", retrieve__train__epochs=3, retrieve__train__full_softmax_below=0
    )
    trained = train(night.extract, settings, tmp_path / "train")
    assert trained.metrics["full_softmax"] == 0
    losses = [epoch["loss"] for epoch in json.loads(Path(trained.uri("curves.json")).read_text())["epochs"]]
    assert losses[-1] < losses[0]
    users = pl.concat([pl.read_parquet(part.uri) for part in night.extract.parts("users")])
    tower = Tower(Path(trained.uri("user_tower")))
    facts = tower_facts(trained.uri("towers.json"))
    vectors = user_vectors(tower, users, facts, list_time(night.extract.ds))
    assert vectors.shape == (150, 16)
    # A user's vector does not depend on who else is in the batch, nor on how far the batch is padded.
    alone = user_vectors(tower, users[:1], facts, list_time(night.extract.ds))
    assert alone[0] == pytest.approx(vectors[0], abs=1e-5)


def test_early_stopping_judges_on_held_out_days_and_trains_again_with_them(night: Night, tmp_path: Path) -> None:
    settings = settings_of(
        tmp_path,
        retrieve__train__encoder="mean",
        retrieve__train__epochs=6,
        retrieve__train__objective="sampled",
        retrieve__train__validation={"days": 2, "users": 40, "k": 10, "patience": 2, "refit": True},
        retrieve__train__tensorboard=True,
    )
    trained = train(night.extract, settings, tmp_path / "train")
    curves = json.loads(Path(trained.uri("curves.json")).read_text())
    said = [epoch["validation"]["ndcg"] for epoch in curves["epochs"]]
    best = int(np.argmax(said)) + 1
    assert trained.metrics["best_epoch"] == curves["best_epoch"] == best
    assert trained.metrics["validation_ndcg"] == max(said) > 0.1, "18 of 54 items are of the own group"
    assert trained.metrics["epochs"] == len(said) == min(6, best + 2)
    assert trained.rows["validated users"] == 40
    assert 0 <= trained.timings["training_input_wait"] < trained.timings["training"]
    assert scalars(Path(trained.uri("tensorboard")), "validation/ndcg") == pytest.approx(said)


def scalars(folder: Path, tag: str) -> list[float]:
    """The values of a tag in event files, in order."""
    records = tf.data.TFRecordDataset(sorted(map(str, folder.glob("events.*"))))
    events = [tf.compat.v1.Event.FromString(record.numpy()) for record in records]
    return [float(tf.make_ndarray(v.tensor)) for event in events for v in event.summary.value if v.tag == tag]


def test_one_user_and_two_items_are_enough(tmp_path: Path) -> None:
    planted = Planted(users=1, items=2, groups=1, events_per_user=3)
    extract = planted_extract(tmp_path, planted)
    settings = planted_settings(tmp_path, planted, retrieve__train__epochs=1, retrieve__train__encoder="mean")
    trained = train(extract, settings, tmp_path / "train")
    assert trained.rows["windows"] == 1
    assert np.isfinite(trained.metrics["loss"])


def test_no_event_is_an_error_that_says_so(tmp_path: Path) -> None:
    planted = Planted(users=3, items=2, groups=1)
    extract = planted_extract(tmp_path, planted, events=planted_events(planted).clear())
    with pytest.raises(ModelError, match="no training sequences"):
        train(extract, planted_settings(tmp_path, planted), tmp_path / "train")


def test_a_loss_that_is_not_finite_is_an_error_that_names_the_step(tmp_path: Path) -> None:
    extract = extract_of(tmp_path)
    settings = settings_of(tmp_path, retrieve__train__learning_rate=1e30, retrieve__train__similarity="dot")
    with pytest.raises(ModelError, match=r"epoch \d+/12, step \d+: the loss is nan.*learning_rate"):
        train(extract, settings, tmp_path / "train")
