"""Reads lists with psycopg 3 and its pool: `DATABASE_URL=… python read_psycopg.py USER SEGMENT ITEM`."""

from __future__ import annotations

import json
import logging
import os
import sys
import time
from typing import NamedTuple

import psycopg
from psycopg.rows import class_row
from psycopg_pool import ConnectionPool

KEEP_SECONDS = 300
log = logging.getLogger(__name__)


class Item(NamedTuple):
    item_id: str
    reason: str


class BrokenConnectionError(psycopg.OperationalError):
    """The connection is lost, and a new one may work."""


class Lists:
    """One for the whole process, shared by its threads."""

    def __init__(self, url: str) -> None:
        self._pool = ConnectionPool(
            url,
            min_size=1,
            max_size=8,
            timeout=0.5,  # seconds a request waits for a connection
            max_waiting=100,  # more requests than that fail at once instead of queueing
            kwargs={
                "autocommit": True,  # one round trip for a read
                "prepare_threshold": 0,  # prepared at first use; None behind a PgBouncer older than 1.22
                "connect_timeout": 2,
                "tcp_user_timeout": 1000,  # milliseconds until a network that lost the server counts as down
            },
            open=True,  # goes on when the database is down, and connects when it is back
        )
        self._everybody: list[Item] = []
        self._kept_at = -float("inf")

    def home(self, user_id: str | None, segment: str | None = None, n: int = 20) -> list[Item]:
        """The user's list; while the database does not answer the last one of everybody, which may be empty."""
        try:
            self._keep_everybodys()
            return self._read("select item_id, reason from recs.get_list(%s, 'home', %s, %s)", user_id, n, segment)
        except psycopg.OperationalError as error:  # down, too slow, or no connection free in time
            log.warning("lists: %s", error)
            return self._everybody[:n]

    def similar(self, item_id: str, n: int = 20) -> list[Item]:
        """Items like this one; none while the database does not answer."""
        return self._read_or_none("select item_id, reason from recs.similar_items(%s, %s)", item_id, n)

    def session(self, item_ids: list[str], n: int = 20) -> list[Item]:
        """What follows from the items just looked at, the latest last; none while the database does not answer."""
        return self._read_or_none("select item_id, reason from recs.session_list(%s, %s)", item_ids, n)

    def close(self) -> None:
        self._pool.close()

    def _keep_everybodys(self) -> None:
        if time.monotonic() - self._kept_at > KEEP_SECONDS:
            self._everybody = self._read("select item_id, reason from recs.get_list(null, 'home', 100)")
            self._kept_at = time.monotonic()

    def _read_or_none(self, query: str, *values: object) -> list[Item]:
        try:
            return self._read(query, *values)
        except psycopg.OperationalError as error:
            log.warning("lists: %s", error)
            return []

    def _read(self, query: str, *values: object) -> list[Item]:
        try:
            return self._read_once(query, values)
        except BrokenConnectionError:  # by a restart, say: then others are too, and the pool renews them
            self._pool.check()
            return self._read_once(query, values)

    def _read_once(self, query: str, values: tuple[object, ...]) -> list[Item]:
        with self._pool.connection() as connection, connection.cursor(row_factory=class_row(Item)) as cursor:
            try:
                return cursor.execute(query, values).fetchall()
            except psycopg.OperationalError as error:
                if connection.broken:
                    raise BrokenConnectionError(str(error)) from error
                raise


if __name__ == "__main__":
    user, segment, item = sys.argv[1:]
    lists = Lists(os.environ["DATABASE_URL"])
    answers = {
        "home": lists.home(user, n=3),
        "stranger": lists.home(None, segment, n=3),
        "similar": lists.similar(item, n=3),
        "session": lists.session([item], n=3),
    }
    lists.close()
    print(json.dumps({name: [item.item_id for item in items] for name, items in answers.items()}))
