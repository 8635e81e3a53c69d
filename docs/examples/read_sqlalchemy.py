"""Reads lists with SQLAlchemy and its pool: `DATABASE_URL=… python read_sqlalchemy.py USER SEGMENT ITEM`."""

from __future__ import annotations

import json
import logging
import os
import sys
import time
from collections.abc import Sequence

from sqlalchemy import ARRAY, Row, Select, Text, column, create_engine, func, literal, make_url, select
from sqlalchemy.exc import OperationalError, TimeoutError

KEEP_SECONDS = 300
log = logging.getLogger(__name__)


class Lists:
    """One for the whole process, shared by its threads."""

    def __init__(self, url: str) -> None:
        self._engine = create_engine(
            make_url(url).set(drivername="postgresql+psycopg"),
            pool_size=8,
            max_overflow=0,
            pool_timeout=0.5,  # seconds a request waits for a connection
            pool_pre_ping=True,  # a connection that broke meanwhile is replaced
            isolation_level="AUTOCOMMIT",  # one round trip for a read
            connect_args={
                "prepare_threshold": 0,  # prepared at first use; None behind a PgBouncer older than 1.22
                "connect_timeout": 2,
                "tcp_user_timeout": 1000,  # milliseconds until a network that lost the server counts as down
            },
        )
        self._everybody: Sequence[Row] = []
        self._kept_at = -float("inf")

    def home(self, user_id: str | None, segment: str | None = None, n: int = 20) -> Sequence[Row]:
        """The user's list; while the database does not answer the last one of everybody, which may be empty."""
        try:
            self._keep_everybodys()
            return self._read(list_of(user_id, n, segment))
        except (OperationalError, TimeoutError) as error:  # down, too slow, or no connection free in time
            log.warning("lists: %s", error)
            return self._everybody[:n]

    def similar(self, item_id: str, n: int = 20) -> Sequence[Row]:
        """Items like this one; none while the database does not answer."""
        return self._read_or_none(items(func.recs.similar_items(item_id, n)))

    def session(self, item_ids: list[str], n: int = 20) -> Sequence[Row]:
        """What follows from the items just looked at, the latest last; none while the database does not answer."""
        return self._read_or_none(items(func.recs.session_list(literal(item_ids, ARRAY(Text)), n)))

    def close(self) -> None:
        self._engine.dispose()

    def _keep_everybodys(self) -> None:
        if time.monotonic() - self._kept_at > KEEP_SECONDS:
            self._everybody = self._read(list_of(None, 100))
            self._kept_at = time.monotonic()

    def _read_or_none(self, query: Select) -> Sequence[Row]:
        try:
            return self._read(query)
        except (OperationalError, TimeoutError) as error:
            log.warning("lists: %s", error)
            return []

    def _read(self, query: Select) -> Sequence[Row]:
        with self._engine.connect() as connection:
            return connection.execute(query).all()


def list_of(user_id: str | None, n: int, segment: str | None = None) -> Select:
    return items(func.recs.get_list(literal(user_id, Text), "home", n, literal(segment, Text)))


def items(function) -> Select:
    """A function's rows as a table: join your products to it on `item_id`, and keep the order."""
    rows = function.table_valued(column("position"), column("item_id"), column("reason"))
    return select(rows.c.item_id, rows.c.reason).order_by(rows.c.position)


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
    print(json.dumps({name: [row.item_id for row in rows] for name, rows in answers.items()}))
