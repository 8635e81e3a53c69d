"""What a run of `compose` counted, as its manifest and `steps.json` tell it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict

from recjobs.compose.checks import FAULTS
from recjobs.compose.config import ComposeConfig
from recjobs.compose.lists import ORIGINS, Tally
from recjobs.compose.rulebook import Rulebook
from recjobs.compose.steps import Origin


def steps_json(tally: Tally) -> bytes:
    """By surface and step, in the steps' order: rows in, removed, added, moved, places that gave way."""
    steps = {
        surface: {name: asdict(counts) for name, counts in steps.items()} for surface, steps in tally.steps.items()
    }
    return json.dumps(steps, indent=2).encode()


def rows(tally: Tally) -> dict[str, int]:
    """Users, and the places of each surface's lists."""
    places = {f"lists/{surface}": sum(origins.values()) for surface, origins in tally.origins.items()}
    return {"users": tally.users, "cold users": tally.cold, **places}


def metrics(tally: Tally) -> dict[str, float]:
    """What each step did, and where the items on the lists came from, as flat names."""
    steps = {
        f"{surface}/{step}/{what}": float(value)
        for surface, steps in tally.steps.items()
        for step, counts in steps.items()
        for what, value in asdict(counts).items()
    }
    origins = {
        f"{surface}/{name}": float(count) for surface, kinds in tally.origins.items() for name, count in kinds.items()
    }
    return {**steps, **origins}


def rule_metrics(books: Mapping[str, Rulebook]) -> dict[str, float]:
    """How many items each rule means, by surface."""
    return {
        f"{surface}/rule {rule}/items": float(count)
        for surface, book in books.items()
        for rule, count in book.matched.items()
    }


def rule_notes(books: Mapping[str, Rulebook]) -> list[str]:
    """Rules that mean no item at all."""
    return [
        f"{surface}: rule {rule} matches no item"
        for surface, book in books.items()
        for rule, count in book.matched.items()
        if count == 0
    ]


def faults(tally: Tally, config: ComposeConfig) -> dict[str, dict[str, int]]:
    """By surface, every kind of fault and how often it was seen."""
    return {
        surface: {kind: tally.faults.get(surface, {}).get(kind, 0) for kind in FAULTS} for surface in config.surfaces
    }


def notes(tally: Tally) -> list[str]:
    """What a reader should know: where rules had to give way."""
    gave_way = [
        f"{surface}: {step} gave way for {counts.gave_way} places, because nothing else was left or may be shown"
        for surface, steps in tally.steps.items()
        for step, counts in steps.items()
        if counts.gave_way
    ]
    return [*_repeats(tally), *gave_way]


def _repeats(tally: Tally) -> list[str]:
    return [
        f"{surface}: no-repeat gave way for {count} places, because no other item was left to fill a list"
        for surface, kinds in tally.origins.items()
        if (count := kinds.get(ORIGINS[Origin.REPEAT], 0))
    ]
