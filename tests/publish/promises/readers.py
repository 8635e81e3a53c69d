"""Readers that ask all the time, as an app does, and note every answer that is wrong, mixed or empty."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager

import psycopg2
from psycopg2 import extensions

from recjobs.publish.config import DatabaseConfig
from recjobs.publish.connection import database_url

PARTS = {
    "own list": "select item_id from recs.get_list('u3')",
    "other surface": "select item_id from recs.get_list('u4', 'email')",
    "segment's list": "select item_id from recs.get_list('nobody', 'home', 20, 'country=GB')",
    "similar items": "select item_id from recs.similar_items('i3')",
    "session": "select item_id from recs.session_list(array['i1', 'i2'])",
    "view": "select item_id from recs.lists where user_id = 'u5'",
    "past": "select unnest(items) from recs.lists_as_of((select ds from recs.live_generation)) where user_id = 'u7'",
}
"""All ways to read, each with one generation's items."""
KINDS = ("statement", "snapshot", "stranger")


def tag_of(item: str) -> str:
    """The run that an item of `composed.night` comes from: `2026-01-05/r1`."""
    return item.split(" ")[0]


class Readers:
    """Threads that read until told to stop.

    `statement` asks every function in one statement; `snapshot` one after the other in one
    repeatable-read transaction; `stranger` asks once on each new connection, with nothing cached.
    A connection that breaks is counted and made anew. Whatever else is not the whole of one
    generation is a fault; with `forward`, so is an older generation than this reader has seen.
    """

    def __init__(self, database: DatabaseConfig, threads: int, *, forward: bool, pause: float) -> None:
        self.url = database_url(database)
        self.forward = forward
        self.pause = pause
        self.seen: Counter[str] = Counter()
        self.breaks: Counter[str] = Counter()
        self.faults: list[str] = []
        self.longest = 0.0
        """Seconds that the slowest read took, machine's load and all."""
        self.stop = threading.Event()
        self.whole: dict[str, int] = {}
        """How many items each part gives; all generations of a test are of one size."""
        self.threads = [
            threading.Thread(target=self._run, args=(KINDS[number % len(KINDS)],), daemon=True)
            for number in range(threads)
        ]

    def _run(self, kind: str) -> None:
        last = ""
        while not self.stop.is_set():
            try:
                with closing(psycopg2.connect(self.url, connect_timeout=10)) as connection:
                    if kind == "snapshot":
                        connection.set_session(isolation_level=extensions.ISOLATION_LEVEL_REPEATABLE_READ)
                    while not self.stop.is_set():
                        last = self._read(connection, kind, last)
                        time.sleep(self.pause)
                        if kind == "stranger":
                            break
            except (psycopg2.OperationalError, psycopg2.InterfaceError) as error:
                self.breaks[str(error).strip().split("\n")[0]] += 1
                time.sleep(0.01)
            except Exception as error:
                self.faults.append(repr(error))
                return

    def _read(self, connection: extensions.connection, kind: str, last: str) -> str:
        started = time.perf_counter()
        with connection, connection.cursor() as cursor:
            answers = read_parts(cursor) if kind == "snapshot" else read_at_once(cursor)
        self.longest = max(self.longest, time.perf_counter() - started)
        return self._check(answers, last)

    def _check(self, answers: dict[str, list[str]], last: str) -> str:
        sizes = {part: len(items) for part, items in answers.items()}
        if sizes != self.whole:
            self.faults.append(f"not whole: {sizes} instead of {self.whole}")
        found = {tag_of(item) for items in answers.values() for item in items}
        if len(found) != 1:
            self.faults.append(f"a mix of {sorted(found)}" if found else "empty")
            return last
        now = found.pop()
        self.seen[now] += 1
        if self.forward and now < last:
            self.faults.append(f"back from {last} to {now}")
        return now


def read_at_once(cursor: extensions.cursor) -> dict[str, list[str]]:
    """The items of each part, all asked in one statement."""
    cursor.execute(" union all ".join(f"select $${part}$$, p.* from ({text}) p" for part, text in PARTS.items()))
    answers: dict[str, list[str]] = {part: [] for part in PARTS}
    for part, item in cursor.fetchall():
        answers[part].append(item)
    return answers


def read_parts(cursor: extensions.cursor) -> dict[str, list[str]]:
    """The items of each part, one statement after the other."""
    answers = {}
    for part, statement in PARTS.items():
        cursor.execute(statement)
        answers[part] = [item for (item,) in cursor.fetchall()]
    return answers


@contextmanager
def reading_all_the_time(
    database: DatabaseConfig, threads: int = 4, *, forward: bool = False, pause: float = 0.0
) -> Iterator[Readers]:
    """Readers at work for the block, each `pause` seconds between its reads. A generation must be live."""
    readers = Readers(database, threads, forward=forward, pause=pause)
    with closing(psycopg2.connect(readers.url)) as connection, connection.cursor() as cursor:
        readers.whole = {part: len(items) for part, items in read_at_once(cursor).items()}
    assert all(readers.whole.values())
    for thread in readers.threads:
        thread.start()
    try:
        yield readers
    finally:
        readers.stop.set()
        for thread in readers.threads:
            thread.join(timeout=60)
    assert not any(thread.is_alive() for thread in readers.threads), "a reader hangs"
