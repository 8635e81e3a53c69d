"""Users in what people read: the data report's examples of bad rows, and the evaluation's sample of users."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Collection, Sequence
from typing import Any

from recjobs.tombstones import Forgotten

_SAMPLE = re.compile(r'<h3>([^<]*) <span class="quiet">[^<]*</span></h3>\n<div class="pair">.*?\n</div>\n', re.DOTALL)
"""One user in the evaluation's report (`recjobs/evaluate/template.py`)."""
REMOVED = "(a user who is forgotten)"

Quarantined = tuple[str, int, str]
"""File, line and reason of a quarantined row."""


def samples_in(page: str, forgotten: Forgotten) -> int:
    """How many forgotten users the report shows."""
    return sum(forgotten.names(html.unescape(match[1])) for match in _SAMPLE.finditer(page))


def without_samples(page: str, forgotten: Forgotten) -> str:
    """The report without forgotten users."""
    return _SAMPLE.sub(lambda match: "" if forgotten.names(html.unescape(match[1])) else match[0], page)


def corrected_report(
    content: bytes, quarantined: Sequence[Quarantined], events: int, event_files: Collection[str]
) -> bytes:
    """`report.json` of extract after `quarantined` rows and so many canonical `events` were taken out.

    What went is counted as forgotten, as if it had been dropped when it was read; no example names it. The counts by
    arrival day stay as they were, and so do those of an extract that went on from another: its report tells of the
    days it read alone, and not all `events` are of these. `event_files` are the files that held events.
    """
    report: dict[str, Any] = json.loads(content)
    for row in quarantined:
        section = report if row[0] in event_files else report.get("users")
        if section is not None:
            _take_out(section, row)
    if report.get("read_after") is None:
        report["kept"] -= events
        report["forgotten"] = report.get("forgotten", 0) + events
    return json.dumps(report, indent=2).encode()


def _take_out(section: dict[str, Any], row: Quarantined) -> None:
    file, line, reason = row
    section["quarantined"] -= 1
    section["forgotten"] = section.get("forgotten", 0) + 1
    section["reasons"][reason] -= 1
    if str(section["examples"].get(reason, "")).startswith(f"{file}:{line} "):
        section["examples"][reason] = REMOVED
