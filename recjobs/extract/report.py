"""The data report, and the limit of bad rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from recjobs.errors import QuarantineLimitError
from recjobs.extract.job import Past
from recjobs.passes import Record

TOP_REASONS = 5
LEFT_OUT = ("quarantined", "duplicates", "before_window", "forgotten")
"""Where rows of events go that are read and not kept."""
_SUMS = ("read", "quarantined", "late", "before_window", "forgotten")


def merged(records: Iterable[Record]) -> dict[str, Record]:
    """Tallies of units added up by section; the first example of each reason is kept."""
    sections: dict[str, Record] = {}
    for record in records:
        total = sections.setdefault(
            record["section"],
            {**dict.fromkeys(_SUMS, 0), "reasons": Counter(), "examples": {}, "by_date": {}},
        )
        for name in _SUMS:
            total[name] += record[name]
        total["reasons"].update(record["reasons"])
        total["examples"] = {**record["examples"], **total["examples"]}
        for day, counts in record["by_date"].items():
            total["by_date"].setdefault(day, Counter()).update(counts)
    return sections


def require_within_limit(sections: Mapping[str, Record], limit: float) -> None:
    """Raises QuarantineLimitError for the first source with a larger share of bad rows than `limit`."""
    for section, total in sections.items():
        share = bad_share(total)
        if share > limit:
            raise QuarantineLimitError(
                f"{section}: {total['quarantined']:,} of {total['read']:,} rows ({share:.1%}) break the input "
                f"contract, more than extract.quarantine_limit = {limit:.1%} allows.\n  {_top_reasons(total)}\n"
                "Correct the source (or [events.types] and the columns settings), or raise the limit if these "
                "rows may be left out.",
                section=section,
                share=share,
                reasons=dict(total["reasons"]),
            )


def bad_share(total: Record) -> float:
    """The share of rows that went to quarantine."""
    return total["quarantined"] / total["read"] if total["read"] else 0.0


def _top_reasons(total: Record) -> str:
    top = sorted(total["reasons"].items(), key=lambda entry: (-entry[1], entry[0]))[:TOP_REASONS]
    return "\n  ".join(f"{count:,} x {reason}; e.g. {total['examples'][reason]}" for reason, count in top)


def data_report(
    sections: Mapping[str, Record], duplicates: Iterable[Mapping[str, int]], kept: int, past: Past | None = None
) -> dict[str, Any]:
    """`report.json`: events' rows read, kept, quarantined, duplicates, late, by arrival date; snapshots below.

    `read_after` is the date of the extract it went on from: of the days until then, which were not read, that one's
    report tells. It is null where the whole window was read.

    `read = kept + quarantined + duplicates + before_window + forgotten`; late events are among those kept.
    """
    events = dict(sections["events"])
    by_date = {day: Counter(counts) for day, counts in events["by_date"].items()}
    gone: Counter[str] = Counter()
    for counted in duplicates:
        gone.update(counted)
    for day, counts in by_date.items():
        lost = counts["quarantined"] + counts["before_window"] + counts["forgotten"] + gone[day]
        counts.update({"duplicates": gone[day], "kept": counts["read"] - lost})
    return {
        **events,
        "read_after": None if past is None else str(past.ds),
        "kept": kept,
        "duplicates": sum(gone.values()),
        "reasons": dict(sorted(events["reasons"].items())),
        "by_date": {day: dict(by_date[day]) for day in sorted(by_date)},
        **{name: _snapshot(total) for name, total in sections.items() if name != "events"},
    }


def _snapshot(total: Record) -> Record:
    return {name: total[name] for name in ("read", "quarantined", "forgotten", "reasons", "examples")}
