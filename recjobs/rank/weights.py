"""A trained DLRM's weights as NumPy arrays: what scoring needs of it, without TensorFlow."""

from __future__ import annotations

import io
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import numpy.typing as npt

from recjobs.rank.block import BLOCKS, FloatArray


@dataclass(frozen=True)
class BlockWeights:
    """One block's share: D dense features, S sparse ones, H hidden units, K embedding size, T tasks.

    `mean` and `scale` [D] normalise; `project` [D, H]; `tables` [rows, K] holds all embedding tables, one below the
    other from row `offsets` [S] on; `wide_dense` [D, T] and `wide_tables` [rows, T] are the linear part.
    """

    mean: FloatArray
    scale: FloatArray
    project: FloatArray
    tables: FloatArray
    offsets: npt.NDArray[np.int32]
    wide_dense: FloatArray
    wide_tables: FloatArray


@dataclass(frozen=True)
class Layer:
    """A dense layer: `kernel` [in, out] and `bias` [out]."""

    kernel: FloatArray
    bias: FloatArray


@dataclass(frozen=True)
class Weights:
    """All weights of a DLRM (`recjobs.rank.dlrm`) and its calibration (slope and intercept [T], on the logit).

    `dense` are the dense arch's layers above the first, whose bias is `bias` [H]; `over` the shared bottom's layers
    and, last, the heads.
    """

    blocks: dict[str, BlockWeights]
    bias: FloatArray
    dense: tuple[Layer, ...]
    over: tuple[Layer, ...]
    slope: FloatArray
    intercept: FloatArray

    def to_bytes(self) -> bytes:
        """An `.npz`; `Weights.from_bytes` reads it back."""
        arrays: dict[str, Any] = {"bias": self.bias, "slope": self.slope, "intercept": self.intercept}
        for name, block in self.blocks.items():
            arrays |= {f"{name}.{part.name}": getattr(block, part.name) for part in fields(BlockWeights)}
        for name, layers in (("dense", self.dense), ("over", self.over)):
            for number, layer in enumerate(layers):
                arrays |= {f"{name}.{number}.kernel": layer.kernel, f"{name}.{number}.bias": layer.bias}
        buffer = io.BytesIO()
        np.savez(buffer, **arrays)
        return buffer.getvalue()

    @classmethod
    def from_bytes(cls, content: bytes) -> Weights:
        """What `to_bytes` wrote.

        Raises:
            ValueError, KeyError or zipfile.BadZipFile: it is something else.
        """
        with np.load(io.BytesIO(content)) as stored:
            arrays = dict(stored)
        blocks = {
            name: BlockWeights(**{part.name: arrays[f"{name}.{part.name}"] for part in fields(BlockWeights)})
            for name in BLOCKS
        }
        return cls(
            blocks=blocks,
            bias=arrays["bias"],
            dense=_layers(arrays, "dense"),
            over=_layers(arrays, "over"),
            slope=arrays["slope"],
            intercept=arrays["intercept"],
        )


def _layers(arrays: dict[str, Any], name: str) -> tuple[Layer, ...]:
    count = sum(key.startswith(f"{name}.") and key.endswith(".kernel") for key in arrays)
    return tuple(Layer(arrays[f"{name}.{number}.kernel"], arrays[f"{name}.{number}.bias"]) for number in range(count))
