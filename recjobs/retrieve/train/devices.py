"""Where a step runs and in what precision: one device, or the same step on several with a part of the batch each.

Mixed precision is TensorFlow's own rewriting of the step's graph for GPUs (16-bit matrix products, 32-bit variables
and sums), with the loss scaled up so that small gradients do not vanish, and down when one overflows.
"""

from __future__ import annotations

import logging
from typing import Any, Literal

from recjobs.retrieve.framework import tf

log = logging.getLogger(__name__)

_TENSOR_CORES = (7, 0)
"""The first compute capability with fast 16-bit matrix products."""


def strategy_of() -> Any:
    """`MirroredStrategy` over all GPUs, or over CPUs where TensorFlow was told of several; else the default one."""
    devices = tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")
    if len(devices) < 2:
        return tf.distribute.get_strategy()
    log.info("each step on %d devices: %s", len(devices), ", ".join(device.name for device in devices))
    return tf.distribute.MirroredStrategy([device.name for device in devices])


def is_mixed(precision: Literal["auto", "float32", "mixed"]) -> bool:
    """Whether to train in mixed precision: where asked to, or by `auto` on GPUs that all gain by it."""
    if precision != "auto":
        return precision == "mixed"
    details = [tf.config.experimental.get_device_details(gpu) for gpu in tf.config.list_physical_devices("GPU")]
    capabilities = [found.get("compute_capability", (0, 0)) for found in details]
    return bool(capabilities) and all(capability >= _TENSOR_CORES for capability in capabilities)


def with_precision(optimizer: Any, precision: Literal["auto", "float32", "mixed"]) -> Any:
    """The optimizer for the precision: with a dynamic loss scale for `mixed`, which is switched on for all graphs."""
    mixed = is_mixed(precision)
    tf.config.optimizer.set_experimental_options({"auto_mixed_precision": mixed})
    return tf.keras.mixed_precision.LossScaleOptimizer(optimizer) if mixed else optimizer


def bare(optimizer: Any) -> Any:
    """The optimizer without its loss scale."""
    return getattr(optimizer, "inner_optimizer", optimizer)


def scaling_of(optimizer: Any) -> list[Any]:
    """The variables of its loss scale; none in float32."""
    state = getattr(optimizer, "_loss_scale", None)
    return [] if state is None else [state.current_loss_scale, state.counter]
