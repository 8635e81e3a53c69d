"""Event files for TensorBoard: `tensorboard --logdir …/tensorboard`."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

from recjobs import storage
from recjobs.manifest import Output
from recjobs.retrieve.framework import tf
from recjobs.retrieve.train.curves import Curves

FOLDER = "tensorboard"
Board = Callable[[Curves], None]


@contextlib.contextmanager
def board(out: Output) -> Iterator[Board]:
    """Called with the curves after an epoch, it writes what has been added since; below `tensorboard/`."""
    with storage.writing_folder(out.uri(FOLDER)) as folder:
        writer = tf.summary.create_file_writer(str(folder))
        written = [0, 0]

        def write(curves: Curves) -> None:
            with writer.as_default():
                _write(curves, *written)
            writer.flush()
            written[:] = [len(curves.steps), len(curves.epochs)]

        try:
            yield write
        finally:
            writer.close()


def _write(curves: Curves, steps: int, epochs: int) -> None:
    for step, loss in enumerate(curves.steps[steps:], start=steps + 1):
        tf.summary.scalar("loss/step", loss, step)
    for epoch in curves.epochs[epochs:]:
        tf.summary.scalar("loss/epoch", epoch.loss, epoch.epoch)
        tf.summary.scalar("windows_per_second", epoch.windows_per_second, epoch.epoch)
        tf.summary.scalar("input_share", epoch.input_seconds / max(epoch.seconds, 1e-9), epoch.epoch)
        for name, value in (epoch.validation or {}).items():
            tf.summary.scalar(f"validation/{name}", value, epoch.epoch)
