from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from recjobs.errors import ModelError
from recjobs.rank.block import Block
from recjobs.rank.dlrm import Dlrm, DlrmShape, weights_of
from recjobs.rank.features import FeatureSpec
from recjobs.rank.ranker import WEIGHTS_FILE, About, Ranker, load_ranker, save_ranker
from tests.rank.test_dlrm import LAYOUTS, inputs

SPEC = FeatureSpec(("view",), (1, 7), (), (), (), (), 100, 10)


@pytest.fixture
def ranker() -> Ranker:
    model = Dlrm(LAYOUTS, DlrmShape(4, (8,), (7,), 2), np.zeros(2))
    model(inputs(1))
    slope, intercept = np.array([1.0, 2.0], np.float32), np.array([0.5, -1.0], np.float32)
    about = About(("click", "purchase"), (1.0, 4.0), 0.3, SPEC, LAYOUTS)
    return Ranker(weights_of(model, slope, intercept), about)


def probabilities(ranker: Ranker, batch_size: int = 100, scale: float = 1.0) -> np.ndarray:
    blocks = {name: Block(LAYOUTS[name], dense * scale, sparse) for name, (dense, sparse) in inputs(11).items()}
    users, items = ranker.encode("user", blocks["user"]), ranker.encode("item", blocks["item"])
    rows = np.arange(11)
    return ranker.probabilities(users, items, rows, rows[::-1], blocks["pair"], batch_size)


def calibrated_by(ranker: Ranker, slope: list[float], intercept: list[float]) -> Ranker:
    arrays = {"slope": np.array(slope, np.float32), "intercept": np.array(intercept, np.float32)}
    return replace(ranker, weights=replace(ranker.weights, **arrays))


def test_a_saved_ranker_gives_the_same_probabilities(ranker: Ranker, tmp_path: object) -> None:
    save_ranker(ranker, str(tmp_path))
    loaded = load_ranker(str(tmp_path))
    assert loaded.about == ranker.about
    np.testing.assert_array_equal(probabilities(loaded), probabilities(ranker))


def test_calibration_is_applied_to_the_logits(ranker: Ranker) -> None:
    calibrated = probabilities(ranker).astype(np.float64)
    plain = probabilities(calibrated_by(ranker, [1.0, 1.0], [0.0, 0.0])).astype(np.float64)
    logit = np.log(plain / (1 - plain)) * [1.0, 2.0] + [0.5, -1.0]
    np.testing.assert_allclose(calibrated, 1 / (1 + np.exp(-logit)), rtol=1e-5)


@pytest.mark.parametrize("batch_size", [1, 4, 11])
def test_the_batch_size_does_not_matter(ranker: Ranker, batch_size: int) -> None:
    np.testing.assert_allclose(probabilities(ranker, batch_size), probabilities(ranker), rtol=1e-5)


def test_values_that_are_not_finite_are_an_error(ranker: Ranker) -> None:
    with pytest.raises(ModelError, match="not finite for 11 of 11 pairs"):
        probabilities(calibrated_by(ranker, [1.0, 1.0], [0.0, np.nan]))


def test_a_ranker_of_other_features_is_refused(ranker: Ranker) -> None:
    other = Block(replace(LAYOUTS["item"], dense=("weight",)), *inputs(1)["item"])
    with pytest.raises(ModelError, match="other item features"):
        ranker.encode("item", other)


@pytest.mark.parametrize("content", [b"no weights", b"", None])
def test_a_broken_model_is_an_error_that_says_what_to_do(ranker: Ranker, tmp_path: Path, content: bytes | None) -> None:
    save_ranker(ranker, str(tmp_path))
    (tmp_path / WEIGHTS_FILE).unlink()
    if content is not None:
        (tmp_path / WEIGHTS_FILE).write_bytes(content)
    with pytest.raises(ModelError, match=r"can't be loaded.*Run rank/train again"):
        load_ranker(str(tmp_path))


def test_weights_of_another_kind_are_an_error(ranker: Ranker, tmp_path: Path) -> None:
    save_ranker(ranker, str(tmp_path))
    np.savez(tmp_path / WEIGHTS_FILE, something=np.zeros(1))
    with pytest.raises(ModelError, match=r"can't be loaded.*user.mean"):
        load_ranker(str(tmp_path))
