from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from recjobs import columns
from recjobs.retrieve.framework import tf
from recjobs.retrieve.item_features import ItemFeatures
from recjobs.retrieve.train.config import RetrieveTrainConfig
from recjobs.retrieve.train.item_tower import ItemTower
from recjobs.retrieve.train.model import TwoTower
from recjobs.retrieve.train.sequences import FIRST_TARGET
from recjobs.retrieve.train.targets import SECONDS_A_DAY, TargetRule
from recjobs.retrieve.train.user_tower import UserTower
from recjobs.retrieve.user_features import SIDE_FIELDS

COUNTS = np.array([0, 40, 30, 20, 9, 1, 0], np.int64)
ITEMS = np.array([[1, 2, 1, 4], [3, 1, 0, 0], [5, 3, 2, 0]])
TYPES = np.array([[1, 1, 2, 1], [2, 1, 0, 0], [1, 1, 1, 0]])
DAYS = np.array([[1, 1, 2, 5], [4, 6, 0, 0], [7, 8, 8, 0]])
WEIGHTS = np.array([0, 1, 3], np.float32)
SEED = tf.constant([1, 2])


def features(content: bool = True) -> ItemFeatures:
    rows = len(COUNTS)
    hashed = np.arange(rows, dtype=np.int32)[:, None] % 3 if content else np.zeros((rows, 0), np.int32)
    none = np.zeros((rows, 0), np.float32)
    return ItemFeatures(np.zeros((rows, 0), np.int32), hashed, none, none, COUNTS)


def two_tower(content: bool = True, **given: Any) -> TwoTower:
    tf.keras.utils.set_random_seed(3)
    config = RetrieveTrainConfig(
        **({"embedding_size": 8, "dropout": 0, "unknown_id_dropout": 0, "sequence_length": 4} | given)
    )
    known = features(content)
    items = ItemTower(
        known, size=8, hash_rows=4, token_rows=1, cosine=config.similarity == "cosine", ids=config.item_embedding
    )
    users = UserTower(config, users=5, event_types=2)
    model = TwoTower(items, users, known, TargetRule(tf.constant(WEIGHTS), True, 0.0, None, 9), config)
    model.loss_of(batch(), SEED)
    for variable in model.trainable_variables:
        variable.assign(tf.random.normal(variable.shape, stddev=0.3))
    return model


def batch() -> dict[str, Any]:
    fields: dict[str, Any] = {
        "item": tf.constant(ITEMS, tf.int64),
        "type": tf.constant(TYPES, tf.int64),
        "time": tf.constant(DAYS * SECONDS_A_DAY + np.arange(4), tf.int64),
        columns.USER_INDEX: tf.constant([1, 2, 0], tf.int64),
        FIRST_TARGET: tf.constant([0, 0, 0], tf.int64),
    }
    return fields | {name: tf.constant(["GB", "", "FR"]) for name in SIDE_FIELDS}


def targets_one_by_one(model: TwoTower) -> tuple[npt.NDArray[Any], npt.NDArray[Any], npt.NDArray[Any]]:
    """User vector, item and weight of each target, the position counted by hand."""
    b = batch()
    catalogue = model._catalogue(b["item"], None)
    users = model._user_vectors({name: b[name] for name in ("item", "type", "time")}, catalogue, b).numpy()
    rows = []
    for row, event in np.argwhere(ITEMS > 0):
        position = int((DAYS[row, :event] < DAYS[row, event]).sum())
        rows.append((users[row, position], ITEMS[row, event], WEIGHTS[TYPES[row, event]]))
    vectors, items, weights = zip(*rows, strict=True)
    return np.array(vectors), np.array(items), np.array(weights)


def vectors_of(model: TwoTower, items: Any) -> npt.NDArray[np.float32]:
    vectors: npt.NDArray[np.float32] = model.items.vector(model.items.representation(tf.constant(items))).numpy()
    return vectors


@pytest.mark.parametrize("similarity", ["cosine", "dot"])
@pytest.mark.parametrize("content", [True, False])
def test_full_softmax_is_the_cross_entropy_over_items_with_an_event(similarity: str, content: bool) -> None:
    model = two_tower(content, similarity=similarity, temperature=0.3)
    users, items, weights = targets_one_by_one(model)
    logits = users @ vectors_of(model, [1, 2, 3, 4, 5]).T / 0.3
    entropies = np.log(np.exp(logits).sum(axis=1)) - logits[np.arange(len(items)), items - 1]
    loss = model.loss_of(batch(), SEED)
    assert float(loss.total) == pytest.approx(float((entropies * weights).sum()), rel=1e-4)
    assert float(loss.weight) == pytest.approx(float(weights.sum()))


def test_sampled_softmax_corrects_for_how_often_a_negative_comes_and_drops_accidental_hits() -> None:
    model = two_tower(objective="sampled", sampled_negatives=7, temperature=0.3)
    assert not model.full_softmax
    users, items, weights = targets_one_by_one(model)
    candidates = np.concatenate([items, model.negatives.draw(SEED).numpy()])
    expected = (len(items) - 1) * COUNTS / COUNTS.sum() + 7 * (COUNTS > 0) / 5
    logits = users @ vectors_of(model, candidates).T / 0.3 - np.log(expected[candidates])
    own = np.eye(len(items), len(candidates), dtype=bool)
    logits[own] += np.log(expected[items])
    logits[(items[:, None] == candidates[None, :]) & ~own] = -np.inf
    entropies = np.log(np.exp(logits).sum(axis=1)) - logits[own]
    assert float(model.loss_of(batch(), SEED).total) == pytest.approx(float((entropies * weights).sum()), rel=1e-4)


def test_a_catalogue_of_any_size_can_be_trained_either_way() -> None:
    assert two_tower(objective="full", full_softmax_below=0).full_softmax
    assert not two_tower(objective="sampled").full_softmax
    assert two_tower(full_softmax_below=6).full_softmax
    assert not two_tower(full_softmax_below=5).full_softmax


def test_what_a_step_drops_follows_from_its_seed() -> None:
    model = two_tower(dropout=0.5, unknown_id_dropout=0.5)
    losses = [float(model.loss_of(batch(), tf.constant(seed)).total) for seed in ([1, 2], [1, 3], [2, 2], [1, 2])]
    assert losses[0] == losses[3]
    assert len(set(losses)) == 3


@pytest.mark.parametrize("full_softmax_below", [0, 100])
def test_every_trainable_variable_gets_a_gradient(full_softmax_below: int) -> None:
    model = two_tower(full_softmax_below=full_softmax_below)
    with tf.GradientTape() as tape:
        loss = model.loss_of(batch(), SEED).total
    names = [variable.name for variable in model.trainable_variables]
    missing = [
        name for name, grad in zip(names, tape.gradient(loss, model.trainable_variables), strict=True) if grad is None
    ]
    assert missing == []


def test_items_without_an_event_share_the_unknown_id_and_differ_by_content() -> None:
    model = two_tower(content=False)
    assert vectors_of(model, [6])[0] == pytest.approx(vectors_of(model, [0])[0])
    with_content = two_tower(content=True)
    assert with_content.items.warm == 5
    difference = with_content.items.representation(tf.constant([6])) - with_content.items.representation(
        tf.constant([3])
    )
    ids = with_content.items.id_embedding
    assert difference[0].numpy() == pytest.approx((ids[0] - ids[3]).numpy(), abs=1e-5), "6 and 3 share their content"


def test_dropped_ids_are_the_unknown_id() -> None:
    tower = two_tower(content=False).items
    tf.random.set_seed(1)
    rows = tower.representation(tf.constant([1] * 2000), id_dropout=0.25).numpy()
    dropped = np.isclose(rows, tower.id_embedding[0].numpy()).all(axis=1)
    assert dropped.mean() == pytest.approx(0.25, abs=0.04)
    assert np.isclose(rows[~dropped], tower.id_embedding[1].numpy()).all()


def test_a_known_country_moves_the_user_and_an_unknown_one_does_not() -> None:
    tower = two_tower().users
    one = tf.ones([2, 1], tf.int64)
    side = {name: tf.constant(["", ""]) for name in SIDE_FIELDS} | {columns.USER_INDEX: tf.constant([0, 0], tf.int64)}

    def vectors(countries: list[str]) -> Any:
        given = side | {columns.COUNTRY: tf.constant(countries)}
        return tower(tf.zeros([2, 0, 8]), one[:, :0], one[:, :0], one, given, training=False).numpy()[:, 0]

    unknown, known = vectors(["", "GB"])
    assert np.abs(known - unknown).max() > 0.01
    assert tower._side(side, training=False).numpy()[0] == pytest.approx(tower.user_embedding[0].numpy())


def user_vectors(model: TwoTower, types: Any = TYPES, days: Any = DAYS, country: str = "GB") -> Any:
    """The users after all of their four events, as of day 9: [3, D]."""
    given = batch()
    side = {name: given[name] for name in (*SIDE_FIELDS, columns.USER_INDEX)} | {columns.COUNTRY: tf.fill([3], country)}
    query = tf.concat([tf.constant(days, tf.int64), tf.fill([3, 1], tf.constant(9, tf.int64))], axis=1)
    history = tf.gather(model.items.id_embedding, ITEMS)
    return model.users(
        history, tf.constant(types, tf.int64), tf.constant(days, tf.int64), query, side, training=False
    ).numpy()[:, -1]


@pytest.mark.parametrize("told", [True, False])
def test_event_types_move_the_user_only_where_the_history_tells_them(told: bool) -> None:
    model = two_tower(event_types=told)
    difference = np.abs(user_vectors(model, TYPES) - user_vectors(model, np.where(TYPES > 0, 3 - TYPES, 0))).max()
    assert (difference > 0.01) == told


@pytest.mark.parametrize("encoder", ["mean", "gru", "attention"])
@pytest.mark.parametrize("told", [True, False])
def test_ages_of_events_move_the_user_only_where_the_history_tells_them(told: bool, encoder: str) -> None:
    model = two_tower(event_ages=told, encoder=encoder, activity=False)
    difference = np.abs(user_vectors(model, days=DAYS) - user_vectors(model, days=np.sort(DAYS // 3, axis=1))).max()
    assert difference > 0.01 if told else difference < 1e-5


def test_an_ignored_column_of_users_is_not_read() -> None:
    assert np.abs(user_vectors(two_tower(), country="GB") - user_vectors(two_tower(), country="FR")).max() > 0.01
    ignoring = two_tower(ignored_user_columns=[columns.COUNTRY])
    assert user_vectors(ignoring, country="GB") == pytest.approx(user_vectors(ignoring, country="FR"))
    nothing = two_tower(ignored_user_columns=list(SIDE_FIELDS), user_embedding=False)
    assert user_vectors(nothing).shape == (3, 8)


def test_without_ids_an_item_is_its_content() -> None:
    model = two_tower(item_embedding=False)
    assert vectors_of(model, [3])[0] == pytest.approx(vectors_of(model, [6])[0]), "they share their content"
    assert np.abs(vectors_of(model, [3])[0] - vectors_of(model, [4])[0]).max() > 0.01
    seen = two_tower()
    assert np.abs(vectors_of(seen, [3])[0] - vectors_of(seen, [6])[0]).max() > 0.01
