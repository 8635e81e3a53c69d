"""The stages, in the order of DESIGN §2: what each reads and which settings it may see.

This table is the only place that knows it. The planner, the runner, the CLI and the DAG follow it.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cache
from pathlib import Path

EARLIER = "earlier"
"""Prefix of inputs and steps of `ds - label_days`, which the ranker learns from."""
JUDGED = "judged"
"""Prefix of inputs that belong to the lists judged tonight."""
PREVIOUS = "previous"
"""Prefix of inputs that a stage goes on from: its own results of a date before."""
PUBLISH = "publish"
MOST_WINDOWS = 12
"""How many label windows the ranker may learn from at most."""

_PACKAGE = Path(__file__).parent


@dataclass(frozen=True)
class Stage:
    """One stage: `recjobs.<package>.stage.run`, its inputs by name, the settings sections it may read."""

    name: str
    inputs: tuple[str, ...]
    sections: tuple[str, ...]
    """Dotted where it is a part of one: a change elsewhere in the section is nothing to this stage."""
    optional_inputs: tuple[str, ...] = ()
    shared_code: tuple[str, ...] = ()
    """Packages below recjobs/ that its code imports besides its own."""

    @property
    def module(self) -> str:
        """The module with the stage's `run`."""
        return f"recjobs.{self.name.replace('/', '.')}.stage"


_INPUT = ("items", "users", "beam")


def earlier_input(stage: str, window: int = 1) -> str:
    """The name of `stage`'s manifest of `ds - window × label_days` among the ranker's inputs."""
    return f"{EARLIER}/{stage}" if window == 1 else f"{EARLIER}/{window}/{stage}"


_FURTHER_WINDOWS = tuple(
    earlier_input(stage, window) for window in range(2, MOST_WINDOWS + 1) for stage in ("extract", "retrieve/search")
)

STAGES: dict[str, Stage] = {
    stage.name: stage
    for stage in (
        Stage(
            "extract",
            (),
            ("time", *_INPUT, "extract"),
            optional_inputs=("previous/extract",),
            shared_code=("sources",),
        ),
        Stage(
            "retrieve/train",
            ("extract",),
            ("retrieve.train", "items", "users"),
            optional_inputs=("previous/extract", "previous/retrieve/train"),
        ),
        Stage("retrieve/search", ("extract", "retrieve/train"), ("retrieve.search", "beam")),
        Stage(
            "rank/train",
            ("extract", "earlier/extract", "earlier/retrieve/search"),
            ("rank.train", "rank.relations", *_INPUT, "extract"),
            optional_inputs=_FURTHER_WINDOWS,
        ),
        Stage("rank/score", ("extract", "retrieve/search", "rank/train"), ("rank", *_INPUT, "extract")),
        Stage("compose", ("extract", "retrieve/search", "rank/score"), ("compose", *_INPUT, "extract")),
        Stage(
            "evaluate",
            ("extract", "compose"),
            ("evaluate", "compose", *_INPUT, "extract"),
            optional_inputs=(
                "retrieve/train",
                "retrieve/search",
                "judged/extract",
                "judged/compose",
                "judged/retrieve/search",
            ),
        ),
        Stage(PUBLISH, ("extract", "compose", "evaluate"), ("publish", "compose", "database")),
    )
}
EARLIER_STAGES = ("extract", "retrieve/train", "retrieve/search")
"""What a first run makes for `ds - label_days` as well, so that the ranker has a past to learn from."""


@cache
def code_digest(stage: str) -> str:
    """A digest of the code a stage runs: its package, what it shares, and the foundation."""
    top = stage.split("/")[0]
    folders = (top, *STAGES[stage].shared_code)
    files = [path for folder in folders for path in (_PACKAGE / folder).rglob("*.py")]
    files += _PACKAGE.glob("*.py")
    accumulator = hashlib.blake2b(digest_size=8)
    for path in sorted(files):
        accumulator.update(path.relative_to(_PACKAGE).as_posix().encode())
        accumulator.update(path.read_bytes())
    return accumulator.hexdigest()
