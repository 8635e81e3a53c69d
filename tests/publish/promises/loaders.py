"""Loaders as processes of their own, forked from a warm one that holds no connection: to be killed for real."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from multiprocessing import get_context
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerProcess

from recjobs.errors import RetryableError
from recjobs.manifest import Manifest
from tests.publish.composed import Night

_CONTEXT = get_context("forkserver")
_CONTEXT.set_forkserver_preload(["pytest", "tests.publish.promises.loaders"])


class Loader:
    """One process that publishes one night. Where it ends by itself, `outcome` says how."""

    def __init__(self, one: Night, clock_off_by: float = 0.0) -> None:
        self._receiver, sender = _CONTEXT.Pipe(duplex=False)
        self.process: ForkServerProcess = _CONTEXT.Process(target=_publish, args=(one, sender, clock_off_by))
        self.process.start()
        sender.close()

    @property
    def pid(self) -> int:
        """The process id."""
        assert self.process.pid is not None
        return self.process.pid

    def outcome(self, timeout: float = 60) -> str:
        """`live`, `aside`, the kind of error with its message, or `killed`."""
        self.process.join(timeout)
        assert not self.process.is_alive(), "the loader hangs"
        with contextlib.suppress(EOFError):
            if self._receiver.poll():
                said: str = self._receiver.recv()
                return said
        assert self.process.exitcode == -9, f"exit code {self.process.exitcode}"
        return "killed"


def _publish(one: Night, sender: Connection, clock_off_by: float) -> None:
    if clock_off_by:
        _shift_clock(clock_off_by)
    try:
        said = "live" if one.publish().metrics["live"] else "aside"
    except Exception as error:
        family = "retryable" if isinstance(error, RetryableError) else "final"
        said = f"{family} {type(error).__name__}: {error}"
    sender.send(said)


def _shift_clock(seconds: float) -> None:
    """This process's wall clock is wrong from here on, as on a machine without time synchronisation."""
    import datetime as module

    real_time, real = time.time, module.datetime

    class Wrong(real):
        @classmethod
        def now(cls, tz: module.tzinfo | None = None) -> Wrong:
            return cls.fromtimestamp(time.time(), tz)

        @classmethod
        def utcnow(cls) -> Wrong:
            return cls.fromtimestamp(time.time(), module.UTC).replace(tzinfo=None)

    time.time = lambda: real_time() + seconds
    time.time_ns = lambda: int(time.time() * 1e9)
    module.datetime = Wrong  # type: ignore[misc]


def publish_with_retries(one: Night, seconds: float = 20) -> tuple[Manifest, int]:
    """The night's manifest and how many tries it took, retried as Airflow does it: retryable errors alone."""
    give_up = time.monotonic() + seconds
    for attempt in _counted():
        try:
            return one.publish(), attempt
        except RetryableError:
            if time.monotonic() > give_up:
                raise
            time.sleep(0.1)
    raise AssertionError("unreachable")


def _counted() -> Iterator[int]:
    number = 1
    while True:
        yield number
        number += 1
