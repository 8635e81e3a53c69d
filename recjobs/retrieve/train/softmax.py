"""The exact softmax over a catalogue, without ever holding all logits.

Σ w log Σ exp(u·v) is linear in what comes back from behind it, so its gradients can be made in the same pass: a
block of rows is scored, and while its exponentials are still in the cache they are multiplied back onto items and
users. That is three matrix products and one pass of `exp`, where automatic differentiation goes over [R, I] numbers
in memory about eight times.
"""

from __future__ import annotations

from typing import Any

from recjobs.retrieve.framework import tf

_CELLS_ON_CPU = 1 << 19
"""Logits in a block: 2 MiB, which a processor's cache holds."""
_CELLS_ON_GPU = 1 << 26
_FEWEST_ROWS, _EVEN = 16, 8


def weighted_log_normaliser(users: Any, weight: Any, items: Any) -> Any:
    """Σ weight log Σ exp(user · item), float32[] from `users` [R, D], `weight` [R], `items` [I, D]; I ≥ 1.

    Differentiable by `users` and `items`, once; `weight` is a constant.
    """
    return _normaliser(users, tf.stop_gradient(weight), items)


@tf.custom_gradient  # type: ignore[untyped-decorator]
def _normaliser(users: Any, weight: Any, items: Any) -> Any:
    total, by_users, by_items = _blockwise(users, weight, items)

    def gradient(upstream: Any) -> tuple[Any, None, Any]:
        return upstream * by_users, None, upstream * by_items

    return total, gradient


def _blockwise(users: Any, weight: Any, items: Any) -> tuple[Any, Any, Any]:
    """The sum and its gradients by users and items, a block of rows after the other."""
    rows, width = tf.shape(users)[0], users.shape[1]
    size = _rows_of_block(tf.shape(items)[0])

    def block(start: Any, total: Any, parts: Any, by_items: Any) -> tuple[Any, Any, Any, Any]:
        stop = tf.minimum(start + size, rows)
        sums, by_users, by_block = _block(users[start:stop], weight[start:stop], items)
        return stop, total + sums, parts.write(parts.size(), by_users), by_items + by_block

    parts = tf.TensorArray(users.dtype, 0, dynamic_size=True, infer_shape=False, element_shape=[None, width])
    _, total, parts, by_items = tf.while_loop(
        lambda start, *_: start < rows,
        block,
        # The empty part at the beginning is for no rows at all.
        (tf.constant(0), tf.zeros([], users.dtype), parts.write(0, users[:0]), tf.zeros_like(items)),
        parallel_iterations=1,
    )
    return total, tf.reshape(parts.concat(), [rows, width]), by_items


def _block(users: Any, weight: Any, items: Any) -> tuple[Any, Any, Any]:
    logits = tf.matmul(users, items, transpose_b=True)
    highest = tf.reduce_max(logits, axis=1, keepdims=True)
    powers = tf.exp(logits - highest)
    sums = tf.reduce_sum(powers, axis=1, keepdims=True)
    share = weight[:, None] / sums
    total = tf.reduce_sum(weight[:, None] * (tf.math.log(sums) + highest))
    return total, share * tf.matmul(powers, items), tf.matmul(powers, share * users, transpose_a=True)


def _rows_of_block(items: Any) -> Any:
    cells = _CELLS_ON_GPU if tf.config.list_logical_devices("GPU") else _CELLS_ON_CPU
    return tf.maximum(cells // tf.maximum(items, 1) // _EVEN * _EVEN, _FEWEST_ROWS)
