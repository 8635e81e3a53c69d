"""Figures of baselines that were taken before: by the data, the parameters, the seed and the code."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from benchmarks.quality.figures import Figures
from benchmarks.quality.running import work_folder
from recjobs.manifest import digest_of


def remembered(key: Sequence[Any], make: Callable[[], Figures]) -> Figures:
    """What `make` gave for `key` and today's code of the benchmark, else what it gives now."""
    digest = digest_of(json.dumps([*key, _code()], sort_keys=True, default=str).encode())
    path = work_folder() / "cache" / f"{digest}.json"
    if path.is_file():
        return {(name, k): value for name, k, value in json.loads(path.read_text())}
    made = make()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps([[name, k, value] for (name, k), value in made.items()]))
    return made


@cache
def _code() -> str:
    """A digest of what figures follow from: the baselines, and how lists are made and measured."""
    return code_of("baselines/*.py", "figures.py", "problem.py", "ranking.py")


def code_of(*patterns: str) -> str:
    """A digest of the benchmark's files that match one of the patterns."""
    files = [path for pattern in patterns for path in sorted(Path(__file__).parent.glob(pattern))]
    return digest_of(b"".join(path.read_bytes() for path in files))
