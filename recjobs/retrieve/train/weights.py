"""All numbers of a training as arrays: what the towers and the optimizer hold, in a fixed order."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from recjobs import storage
from recjobs.retrieve.train.devices import bare, scaling_of

Arrays = list[npt.NDArray[Any]]


def state_of(model: Any, optimizer: Any) -> list[Any]:
    """The variables that training changes."""
    return [*model.trainable_variables, *bare(optimizer).variables, *scaling_of(optimizer)]


def taken(variables: Sequence[Any]) -> Arrays:
    """Copies of their values."""
    return [np.array(variable.numpy()) for variable in variables]


def put_back(variables: Sequence[Any], arrays: Arrays) -> None:
    """Gives the variables their values back.

    Raises:
        ValueError: the arrays are of other variables.
    """
    for variable, array in zip(variables, arrays, strict=True):
        variable.assign(array)


def write_arrays(uri: str, arrays: Arrays) -> None:
    """The arrays as one file."""
    with storage.writing(uri) as stream:
        np.savez(stream, *arrays)


def read_arrays(uri: str) -> Arrays:
    """What `write_arrays` wrote, bit by bit."""
    with storage.reading(uri) as stream, np.load(stream, allow_pickle=False) as content:
        return [content[f"arr_{place}"] for place in range(len(content.files))]
