"""What the report says of tonight's candidates: how they were searched, how fast, and what each source brought."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from recjobs import columns
from recjobs.columns import SOURCE
from recjobs.evaluate.contribution import ALONE, EVERY, RECALL, RECALL_ALONE, SHARE
from recjobs.evaluate.judging import Row
from recjobs.manifest import Manifest

_TOTAL = "total"
"""The runner's own timing of the whole process, which the parts do not add up to."""


def search_section(search: Manifest | None, judged: Sequence[Row]) -> dict[str, Any] | None:
    """The section's values; None where the run has no search of its own.

    `judged` are the rows of `sources.json`, of an earlier night; empty where none is judged.
    """
    if search is None:
        return None
    metrics = search.metrics
    return {
        "candidates": int(metrics["candidates"]),
        "users": f"{search.rows['users']:,}",
        "searched": f"{search.rows['searched_items']:,}",
        "method": _method(search),
        "recall": f"{metrics['recall']:.4f}",
        "audit": _audit(search),
        "parts": [
            {"name": name.replace("_", " "), "seconds": f"{seconds:.2f}"}
            for name, seconds in search.timings.items()
            if name != _TOTAL
        ],
        "pass_speed": f"{metrics['users_per_second']:,.0f}",
        "search_speed": f"{metrics['search_users_per_second']:,.0f}",
        "sources": _sources(search, judged),
        "judged": judged[0]["judged"] if judged else None,
        "until": judged[0]["until"] if judged else None,
        "judged_users": judged[0]["users"] if judged else 0,
    }


def _method(search: Manifest) -> str:
    metrics = search.metrics
    if not metrics["scann"]:
        return "exact search, without an index"
    return (
        f"ScaNN, its index built in {search.timings['index_build']:.1f} s ({metrics['searched_leaves']:.0f} of "
        f"{metrics['index_leaves']:.0f} leaves searched, {metrics['reordered']:.0f} reordered)"
    )


def _audit(search: Manifest) -> str:
    floor = next((check.limit for check in search.checks if check.name == "recall"), None)
    return "" if floor is None else f", the floor is {floor:g}"


def _sources(search: Manifest, judged: Sequence[Row]) -> list[dict[str, str]]:
    """A row for each source that brought something, tonight or then, and for all together."""
    worth = {row[SOURCE]: row for row in judged}
    told = {
        name: (search.metrics.get(f"{SHARE}_{name}", 0.0), search.metrics.get(f"{ALONE}_{name}", 0.0))
        for name in columns.SOURCES
    }
    shown = [name for name, (share, _) in told.items() if share or worth.get(name, {}).get(SHARE)]
    return [
        {
            "name": name,
            SHARE: _percent(share),
            ALONE: _percent(alone),
            RECALL: _decimals(worth.get(name, {}).get(RECALL)),
            RECALL_ALONE: _decimals(worth.get(name, {}).get(RECALL_ALONE)),
        }
        for name, (share, alone) in ((one, told.get(one, (1.0, 1.0))) for one in (*shown, EVERY))
    ]


def _percent(share: float) -> str:
    return f"{share:.1%}"


def _decimals(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"
