"""Crash-safe: a connection lost in COPY is retried, and nothing half-written is taken for done.

What is tried: a proxy between loader and server cuts the connection after a number of bytes of COPY
drawn from a seed, from the first to the last: 8 times, every other with a reset, while readers ask
all the time. After each the run fails with an error that is retried, nothing it wrote is left, the old
lists are live, and the same run again succeeds.
"""

from __future__ import annotations

import dataclasses
import random
import threading
from pathlib import Path

import pytest

from recjobs.errors import DatabaseUnavailableError
from recjobs.publish import reading
from recjobs.publish.config import DatabaseConfig
from tests.publish.composed import Night, night, settings_for
from tests.publish.promises.proxy import CutError, Link, Message, proxied
from tests.publish.promises.readers import reading_all_the_time
from tests.publish.promises.state import left_over, live_number

CUTS = 8


class Counter:
    """Counts the bytes of COPY, and cuts where `limit` is reached."""

    def __init__(self, limit: int | None = None, *, reset: bool = True) -> None:
        self.limit = limit
        self.reset = reset
        self.sent = 0
        self._lock = threading.Lock()

    def hook(self, _link: Link, message: Message) -> None:
        """Cuts inside the message that goes beyond the limit."""
        if message.kind != "d":
            return
        with self._lock:
            self.sent += len(message.body)
            if self.limit is not None and self.sent > self.limit:
                left = max(0, self.limit - (self.sent - len(message.body)))
                self.limit = None
                raise CutError(left, reset=self.reset)


def through(database: DatabaseConfig, one: Night, folder: Path, counter: Counter) -> int:
    """Publishes `one` through a proxy; how many bytes of COPY it took."""
    with proxied(database, counter.hook) as proxy:
        dataclasses.replace(one, settings=settings_for(folder, proxy.config)).publish()
    return counter.sent


def test_crash_safe_when_the_connection_is_lost_in_copy(tmp_path: Path, database: DatabaseConfig) -> None:
    users = [f"u{number}" for number in range(2000)]
    size = through(database, night(tmp_path, database, ds="2026-01-01", users=users), tmp_path, Counter())
    draw = random.Random(6)
    limits = [0, size - 1, *(draw.randrange(size) for _ in range(CUTS - 2))]
    with reading_all_the_time(database, threads=3, forward=True, pause=0.02) as readers:
        for day, limit in enumerate(limits, start=2):
            one = night(tmp_path, database, ds=f"2026-01-{day:02d}", users=users)
            with pytest.raises(DatabaseUnavailableError, match=r"does not answer: .*the live lists are untouched"):
                through(database, one, tmp_path, Counter(limit, reset=day % 2 == 0))
            assert live_number(tmp_path, database) == (f"2026-01-{day - 1:02d}", 1)
            assert left_over(database) == set()
            assert {g.state for g in reading.versions(settings_for(tmp_path, database))} <= {"live", "superseded"}
            assert one.publish().metrics["live"] == 1
    assert readers.faults == []
    assert not readers.breaks
