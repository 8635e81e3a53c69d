"""Logits of a DLRM in memory, for judging and calibrating it."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from recjobs.rank.block import Block, FloatArray
from recjobs.rank.dlrm import Dlrm
from recjobs.rank.ranker import batches
from recjobs.rank.train.examples import Examples

_BATCH = 16_384


def logits_of(model: Dlrm, examples: Examples, items: Block, rows: npt.NDArray[np.int64]) -> FloatArray:
    """Uncalibrated logits of the pairs `rows`, float32[len(rows), T]."""
    users = model.encode("user", tf.constant(examples.users.dense), tf.constant(examples.users.sparse))
    table = model.encode("item", tf.constant(items.dense), tf.constant(items.sparse))
    result = [np.zeros((0, model.heads.units), np.float32)]
    for batch in batches(len(rows), _BATCH):
        chosen = rows[batch]
        pairs = examples.pairs.take(chosen)
        encoded = model.encode("pair", tf.constant(pairs.dense), tf.constant(pairs.sparse))
        left, right = tf.gather(users, examples.user[chosen]), tf.gather(table, examples.item[chosen])
        result.append(model.score(left, right, encoded).numpy())
    return np.concatenate(result)
