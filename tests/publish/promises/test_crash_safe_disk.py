"""Crash-safe: the disk is full. The run says so and what to do, live lists stay, and the next run succeeds.

What is tried, on a tablespace of 24 MB of its own: the disk fills up when the run creates its tables,
when it copies, when it builds keys, and when it attaches and promotes. Needs the right to mount a
tmpfs; where that is refused the test is skipped.
"""

from __future__ import annotations

import contextlib
import dataclasses
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import psycopg2
import pytest

from recjobs.errors import PublishError
from recjobs.publish.config import DatabaseConfig
from recjobs.publish.connection import database_url
from tests.publish.composed import night, settings_for
from tests.publish.promises.proxy import Link, Message, proxied
from tests.publish.promises.readers import reading_all_the_time
from tests.publish.promises.state import left_over, live_number


@pytest.fixture
def small_disk() -> Iterator[Path]:
    """A file system of 24 MB that anybody may use."""
    folder = Path(tempfile.mkdtemp(prefix="recjobs-small-"))
    mounting = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=24m,mode=0777", "tmpfs", str(folder)], capture_output=True, text=True
    )
    if mounting.returncode:
        folder.rmdir()
        pytest.skip(f"a tmpfs can't be mounted here: {mounting.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)
        folder.rmdir()


@pytest.fixture
def on_small_disk(database: DatabaseConfig, small_disk: Path) -> Iterator[DatabaseConfig]:
    """A database whose tables lie on the small disk."""
    url = database_url(database)
    with closing(psycopg2.connect(url)) as connection:
        connection.autocommit = True
        cursor = connection.cursor()
        cursor.execute("select 1, current_database(), current_setting('data_directory')")
        _, name, data = cursor.fetchone()
        place = small_disk / "tablespace"
        place.mkdir(mode=0o700)
        shutil.chown(place, Path(data).owner(), Path(data).group())
        cursor.execute(f"create tablespace small_{name} location '{place}'")
        cursor.execute(f"grant create on tablespace small_{name} to public")
        cursor.execute(f"alter database {name} set default_tablespace = small_{name}")
    yield database
    with closing(psycopg2.connect(url)) as connection:
        connection.autocommit = True
        cursor = connection.cursor()
        cursor.execute("drop schema if exists recs cascade")
        cursor.execute(f"alter database {name} reset default_tablespace")
        cursor.execute("checkpoint")
        cursor.execute(f"drop tablespace small_{name}")


def fill(disk: Path) -> Path:
    """A file that takes all that is left."""
    ballast = disk / "ballast"
    with open(ballast, "wb", buffering=0) as file:
        for size in (1 << 20, 1 << 12):
            try:
                while file.write(bytes(size)) == size:
                    pass
            except OSError:
                continue
    return ballast


@pytest.mark.parametrize("phase", ["create", "copy", "key", "attach", "promote"])
def test_crash_safe_when_the_disk_is_full(
    tmp_path: Path, on_small_disk: DatabaseConfig, small_disk: Path, phase: str
) -> None:
    users = [f"u{number}" for number in range(3000)]
    night(tmp_path, on_small_disk, ds="2026-01-01", users=users).publish()
    one = night(tmp_path, on_small_disk, ds="2026-01-02", users=users)
    ballast: list[Path] = []

    def fill_up(_link: Link, message: Message) -> None:
        if message.phase == phase and not ballast:
            ballast.append(fill(small_disk))

    with (
        reading_all_the_time(on_small_disk, threads=3, forward=True, pause=0.02) as readers,
        proxied(on_small_disk, fill_up) as proxy,
    ):
        full = dataclasses.replace(one, settings=settings_for(tmp_path, proxy.config))
        # Attaching and promoting mostly fit into pages that are there.
        fits = contextlib.suppress(PublishError) if phase in ("attach", "promote") else pytest.raises(PublishError)
        with fits as failure:
            full.publish()
        if failure is not None:
            message = r"the server's disk is full \(.*No space left.*\)\. Free space or lower publish\.keep_generations"
            assert failure.match(message)
            assert live_number(tmp_path, on_small_disk) == ("2026-01-01", 1)
            assert left_over(on_small_disk) == set()
        ballast[0].unlink()
        assert one.publish().metrics["live"] == 1
        assert left_over(on_small_disk) == set()
    assert readers.faults == []
    assert not readers.breaks
