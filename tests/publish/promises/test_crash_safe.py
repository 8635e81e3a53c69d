"""Crash-safe: killed anywhere, nobody reads a wrong, mixed or empty answer, and the next run cleans up.

What is tried, each at a moment drawn from a seed and evenly over the phases register, create, copy,
key, attach, promote and prune, while readers ask all the time:

- the loader, a process of its own, gets SIGKILL right before a statement is sent, on its arrival or
  up to 3 ms later: 21 times, 7 times more on PostgreSQL 16 and on 15, and 7 times at any moment of a run;
  and once before each statement that attaches and promotes, some 20 times,
- the loader's backend is ended by `pg_terminate_backend`: 14 times,
- the loader's backend gets SIGKILL, and with it the whole server falls and recovers: 7 times,
- the server's own process gets SIGKILL in the middle of a night, and is started again: 3 times.

That makes more than 80 kills. After each: the live answer is the whole old generation or, once promoted, the
whole new one; no reader goes back to an older one; the same run again succeeds, is live with every
row, and no table is left that no stored generation owns.
"""

from __future__ import annotations

import dataclasses
import os
import random
import signal
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from datetime import date, timedelta
from pathlib import Path

import psycopg2
import pytest
from pydantic import SecretStr

from recjobs.errors import PublishBusyError
from recjobs.publish import embedded, operations
from recjobs.publish.config import DatabaseConfig
from recjobs.publish.connection import database_url
from tests.database import own_server
from tests.publish.composed import Night, night, settings_for
from tests.publish.promises.loaders import Loader, publish_with_retries
from tests.publish.promises.proxy import PHASES, CutError, Link, Message, proxied
from tests.publish.promises.readers import Readers, read_at_once, reading_all_the_time, tag_of
from tests.publish.promises.state import left_over

KEEP_TWO = {"publish.keep_generations": 2}
FIRST = date(2026, 1, 1)


@pytest.fixture(scope="module")
def crashing() -> Iterator[DatabaseConfig]:
    """The embedded server that these tests break, nobody else's."""
    config = own_server(Path(tempfile.mkdtemp(prefix="recjobs-crashing-")))
    embedded.start(config)
    yield config
    embedded.stop(config)


@dataclass
class Nights:
    """One database, night after night of it, and what a run of it looks like when nothing breaks."""

    folder: Path
    database: DatabaseConfig
    messages: dict[str, int] = field(default_factory=dict)
    """How many messages each phase of an undisturbed run sends."""
    seconds: float = 0.0
    """How long an undisturbed run takes."""
    _day: date = FIRST

    def next(self) -> Night:
        """The night of the next date."""
        self._day += timedelta(days=1)
        return night(self.folder, self.database, ds=str(self._day), overrides=KEEP_TWO)

    @property
    def tags(self) -> tuple[str, str]:
        """The night before this one, and this one."""
        return f"{self._day - timedelta(days=1)}/r1", f"{self._day}/r1"

    def watch(self) -> None:
        """Publishes until a night prunes one, and notes what that takes."""
        for _ in range(4):
            with proxied(self.database, lambda _link, _message: None) as proxy:
                loader = Loader(behind(proxy.config, self.folder, self.next()))
                assert loader.outcome() == "live"
                self.messages = {phase: proxy.counts[phase] for phase in PHASES}
        started = time.perf_counter()
        loader = Loader(self.next())
        assert loader.outcome() == "live"
        self.seconds = time.perf_counter() - started


def behind(database: DatabaseConfig, folder: Path, one: Night) -> Night:
    """The same night, published through another address."""
    return dataclasses.replace(one, settings=settings_for(folder, database, KEEP_TWO))


@pytest.fixture
def nights(tmp_path: Path, crashing: DatabaseConfig) -> Iterator[Nights]:
    url = embedded.ensure_database(crashing, "nights")
    found = Nights(tmp_path, DatabaseConfig(url=SecretStr(url)))
    found.watch()
    yield found
    # A server that recovers looks at every file first.
    with closing(psycopg2.connect(embedded.embedded_url(crashing))) as connection:
        connection.autocommit = True
        connection.cursor().execute("drop database nights with (force)")


@pytest.fixture
def any_nights(tmp_path: Path, any_database: DatabaseConfig) -> Nights:
    """On the session's servers, which nothing here breaks."""
    found = Nights(tmp_path, any_database)
    found.watch()
    return found


Strike = Callable[[Loader, Link], None]


@dataclass
class Blow:
    """One kill: at which message of which phase, before it is sent on or so many seconds after."""

    strike: Strike
    phase: str
    number: int
    delay: float | None
    """None is before the message is sent on."""
    owner: bool = False
    """Whether it hits the session that owns the generation, while another one copies."""
    loader: Loader | None = None
    owning: Link | None = None
    fell: bool = False

    def hook(self, link: Link, message: Message) -> Callable[[], None] | None:
        """Strikes once, when its message comes."""
        self.owning = self.owning or link
        if self.fell or (message.phase, message.number) != (self.phase, self.number) or message.kind == "X":
            return None
        self.fell = True
        if self.delay is None:
            self._strike(link)
            raise CutError
        return lambda: (time.sleep(self.delay or 0), self._strike(link))[1]

    def _strike(self, link: Link) -> None:
        while self.loader is None:
            time.sleep(0.001)
        self.strike(self.loader, self.owning if self.owner and self.owning else link)


def kill_loader(loader: Loader, _link: Link) -> None:
    os.kill(loader.pid, signal.SIGKILL)


def kill_backend(_loader: Loader, link: Link) -> None:
    os.kill(link.backend, signal.SIGKILL)


def terminate_backend(url: str) -> Strike:
    def strike(_loader: Loader, link: Link) -> None:
        with closing(psycopg2.connect(url)) as connection, connection.cursor() as cursor:
            cursor.execute("select pg_terminate_backend(%s)", (link.backend,))

    return strike


def blows(strike: Strike, nights: Nights, draw: random.Random) -> Iterator[Blow]:
    """Blows for good, the phases in turn."""
    while True:
        for phase in PHASES:
            delay = draw.choice([None, 0.0, draw.uniform(0, 0.003)])
            yield Blow(strike, phase, draw.randrange(nights.messages[phase]), delay, owner=draw.random() < 0.5)


def check_after(nights: Nights, one: Night) -> None:
    """What a reader gets now is whole and old or new; the same run again cleans up and is live with every row."""
    assert live_tag(nights.database) in nights.tags
    again, _ = publish_with_retries(one)
    assert again.metrics["live"] == 1
    assert live_tag(nights.database) == nights.tags[1]
    assert left_over(nights.database) == set()
    with closing(psycopg2.connect(database_url(nights.database))) as connection, connection.cursor() as cursor:
        cursor.execute("select count(*), count(distinct user_id) from recs.lists")
        assert cursor.fetchone() == (200, 20)
        cursor.execute("select distinct state from recs.generations where pruned_at is null order by 1")
        assert cursor.fetchall() == [("live",), ("superseded",)]


def live_tag(database: DatabaseConfig) -> str:
    """The one run that a new reader's whole answer comes from; waits while the server recovers."""
    give_up = time.monotonic() + 30
    while True:
        try:
            with closing(psycopg2.connect(database_url(database))) as connection, connection.cursor() as cursor:
                (tag,) = {tag_of(item) for items in read_at_once(cursor).values() for item in items}
                return tag
        except psycopg2.OperationalError:
            assert time.monotonic() < give_up, "the server does not come back"
            time.sleep(0.02)


def beaten(nights: Nights, blow: Blow) -> str | None:
    """How the loader ended under `blow`; None when it was through before the blow fell."""
    one = nights.next()
    with proxied(nights.database, blow.hook) as proxy:
        blow.loader = Loader(behind(proxy.config, nights.folder, one))
        said = blow.loader.outcome()
    check_after(nights, one)
    return said if blow.fell and said != "live" else None


def beat(nights: Nights, strike: Strike, times: int, seed: int) -> tuple[Counter[str], Counter[str], Readers]:
    """Blows until `times` of them fell: their phases, and how the loaders ended."""
    phases: Counter[str] = Counter()
    ends: Counter[str] = Counter()
    with reading_all_the_time(nights.database, threads=3, forward=True, pause=0.005) as readers:
        for blow in blows(strike, nights, random.Random(seed)):
            if (said := beaten(nights, blow)) is not None:
                phases[blow.phase] += 1
                ends[said.split(":")[0]] += 1
            if sum(phases.values()) == times:
                break
    print(f"kills by phase: {dict(phases)}; loaders ended: {dict(ends)}; readers' breaks: {dict(readers.breaks)}")
    assert readers.faults == []
    assert sum(readers.seen.values()) > times
    assert set(phases) == set(PHASES)
    return phases, ends, readers


@pytest.mark.slow
def test_crash_safe_when_the_loader_is_killed_at_any_statement(nights: Nights) -> None:
    _, ends, readers = beat(nights, kill_loader, 21, seed=1)
    assert ends == {"killed": 21}
    assert not readers.breaks


def test_crash_safe_when_the_loader_is_killed_at_every_statement_of_attach_and_promote(nights: Nights) -> None:
    killed = 0
    with reading_all_the_time(nights.database, threads=3, forward=True, pause=0.005) as readers:
        for phase in ("attach", "promote"):
            for number in range(nights.messages[phase]):
                killed += beaten(nights, Blow(kill_loader, phase, number, None)) == "killed"
    assert killed == nights.messages["attach"] + nights.messages["promote"]
    assert readers.faults == []


@pytest.mark.parametrize("any_database", ["16", "15"], indirect=True)
def test_crash_safe_on_older_servers(any_nights: Nights) -> None:
    _, ends, readers = beat(any_nights, kill_loader, 7, seed=9)
    assert ends == {"killed": 7}
    assert not readers.breaks


def test_crash_safe_when_the_loader_is_killed_at_any_moment(nights: Nights) -> None:
    draw, killed = random.Random(2), 0
    with reading_all_the_time(nights.database, threads=3, forward=True, pause=0.005) as readers:
        while killed < 7:
            one = nights.next()
            loader = Loader(one)
            time.sleep(draw.uniform(0, nights.seconds))
            os.kill(loader.pid, signal.SIGKILL)
            killed += loader.outcome() == "killed"
            check_after(nights, one)
    assert readers.faults == []
    assert not readers.breaks


def test_crash_safe_when_its_backend_is_terminated(nights: Nights) -> None:
    _, ends, readers = beat(nights, terminate_backend(database_url(nights.database)), 7, seed=3)
    assert ends == {"retryable DatabaseUnavailableError": 7}
    assert not readers.breaks


@pytest.mark.slow
def test_crash_safe_when_its_backend_is_killed_and_the_server_falls(nights: Nights) -> None:
    _, ends, _ = beat(nights, kill_backend, 7, seed=4)
    assert ends == {"retryable DatabaseUnavailableError": 7}


def test_crash_safe_when_the_server_itself_is_killed_and_started_again(
    nights: Nights, crashing: DatabaseConfig
) -> None:
    draw, ends = random.Random(5), Counter[str]()
    with reading_all_the_time(nights.database, threads=3, forward=True, pause=0.005) as readers:
        while ends.total() < 3:
            one = nights.next()
            loader = Loader(one)
            time.sleep(draw.uniform(0, nights.seconds))
            postmaster = embedded.running(crashing)
            assert postmaster is not None
            os.kill(postmaster.pid, signal.SIGKILL)
            embedded.start(crashing)
            if (said := loader.outcome()) != "live":
                ends[said.split(":")[0]] += 1
            check_after(nights, one)
    assert ends == {"retryable DatabaseUnavailableError": 3}
    assert readers.faults == []
    assert readers.breaks


def test_crash_safe_when_a_session_of_a_vanished_loader_lives_on(nights: Nights) -> None:
    """Its machine is gone, and the server does not know yet: one session is in COPY still, the one that owns is not."""
    one, copying, buried = nights.next(), threading.Event(), threading.Event()
    settings = settings_for(nights.folder, nights.database)

    def freeze(_link: Link, message: Message) -> None:
        if message.phase == "copy" and message.kind == "d" and not copying.is_set():
            copying.set()
            buried.wait(60)

    with proxied(nights.database, freeze) as proxy:
        loader = Loader(behind(proxy.config, nights.folder, one))
        assert copying.wait(30)
        kill_loader(loader, proxy.links[0])
        assert loader.outcome() == "killed"
        until_released(nights.database, proxy.links[0].backend)
        started = time.monotonic()
        with pytest.raises(PublishBusyError, match="another process is loading it"):
            one.publish()
        operations.rollback(settings, who="ann", why="nobody waits for the dead")
        assert time.monotonic() - started < 3
        operations.promote(settings, date.fromisoformat(nights.tags[0][:10]), force=True, who="ann", why="back")
        buried.set()
    check_after(nights, one)


def until_released(database: DatabaseConfig, backend: int) -> None:
    """Until the server has noticed that this backend's client is gone."""
    with closing(psycopg2.connect(database_url(database))) as connection:
        connection.autocommit = True
        cursor = connection.cursor()
        cursor.execute("select from pg_stat_activity where pid = %s", (backend,))
        while cursor.rowcount:
            time.sleep(0.01)
            cursor.execute("select from pg_stat_activity where pid = %s", (backend,))
