"""Extract in plain Python, row by row: slow, obvious, and written without looking at the columnar code."""

from __future__ import annotations

import math
import struct
import zlib
from collections import Counter
from collections.abc import Callable, Iterable
from datetime import UTC, date, datetime, timedelta
from typing import Any

from recjobs.settings import Settings
from tests.extract.streams import Event, World


def day_of(moment: datetime) -> date:
    return moment.astimezone(UTC).date()


def single(value: float) -> float:
    """As float32 holds it."""
    return struct.unpack("f", struct.pack("f", value))[0]


def is_good(event: Event, config: Settings) -> bool:
    kind = config.events.types.get(event.event_type)
    if not event.user_id or kind is None or (kind.has_item and not event.item_id):
        return False
    return day_of(event.timestamp) <= event.arrival


def canonical(world: World, config: Settings, ds: date) -> list[Event]:
    """Good events in the window, first of duplicates, in canonical order."""
    codes = config.event_codes()
    start = ds - timedelta(days=config.time.window_days - 1)
    kept: list[Event] = []
    seen: set[Any] = set()
    for event in sorted(world.events, key=lambda event: event.arrived):
        if event.arrival > ds or not is_good(event, config) or day_of(event.timestamp) < start:
            continue
        key: Any = None
        if event.event_id:
            key = ("id", event.user_id, event.event_id)
        elif config.events.identity:
            key = ("same", event.user_id, *(getattr(event, name) or None for name in config.events.identity))
        if key is not None and key in seen:
            continue
        seen.add(key)
        kept.append(event)
    return sorted(
        kept,
        key=lambda e: (
            e.user_id,
            e.timestamp,
            codes[e.event_type],
            e.item_id or "",
            e.arrival,
            e.event_id or "",
            e.country or "",
            e.device or "",
        ),
    )


def until(events: Iterable[Event], day: date) -> list[Event]:
    return [event for event in events if day_of(event.timestamp) <= day]


def by_user(events: Iterable[Event]) -> dict[str, list[Event]]:
    grouped: dict[str, list[Event]] = {}
    for event in events:
        assert event.user_id
        grouped.setdefault(event.user_id, []).append(event)
    return grouped


def counts(events: list[Event], config: Settings, last: date) -> dict[str, int]:
    return {
        f"count_{kind}_{days}d": sum(
            event.event_type == kind and last - timedelta(days=days) < day_of(event.timestamp) <= last
            for event in events
        )
        for kind in config.events.types
        for days in sorted(config.extract.count_windows)
    }


def item_states(world: World, config: Settings, ds: date) -> list[dict[str, Any]]:
    train, history = cutoffs(config, ds)
    events = [event for event in canonical(world, config, ds) if event.item_id]
    learnt, past = until(events, train), until(events, history)
    snapshot = {row["item_id"]: row for row in world.items}
    names = {event.item_id for event in (*learnt, *past)} | set(snapshot)
    trained = Counter(event.item_id for event in learnt)
    states = []
    for index, name in enumerate(sorted(names, key=lambda name: (-trained[name], name)), start=1):
        mine = [event for event in past if event.item_id == name]
        row = snapshot.get(name, {})
        available = row.get("available")
        states.append(
            {
                "item_index": index,
                "item_id": name,
                "title": row.get("title"),
                "price": row.get("price"),
                "colour": row.get("colour"),
                "available": (True if available is None else available) if name in snapshot else False,
                "train_events": trained[name],
                "n_events": len(mine),
                "n_users": len({event.user_id for event in mine}),
                "first_event": min((event.timestamp for event in mine), default=None),
                "last_event": max((event.timestamp for event in mine), default=None),
                **counts(mine, config, history),
            }
        )
    return states


def cutoffs(config: Settings, ds: date) -> tuple[date, date]:
    return ds - timedelta(days=config.time.train_lag_days), ds - timedelta(days=config.time.history_lag_days)


def user_states(world: World, config: Settings, ds: date) -> dict[str, dict[str, Any]]:
    """By user; without `user_index`, which depends on shards."""
    train, history = cutoffs(config, ds)
    events = canonical(world, config, ds)
    items = {row["item_id"]: row for row in item_states(world, config, ds)}
    snapshot = {row["user_id"]: row for row in world.users}
    past = by_user(until(events, history))
    learners = {e.user_id for e in until(events, train) if e.item_id}
    return {
        name: user_state(past.get(name, []), snapshot.get(name, {}), items, config, history)
        for name in sorted(set(snapshot) | set(past) | {name for name in learners if name})
    }


def device_number(name: str | None) -> int:
    return zlib.crc32(name.encode()) + 1 if name else 0


def usual_device(history: list[Event]) -> int:
    """Of the most frequent devices the latest."""
    known = [event.device for event in history if event.device]
    often = Counter(known)
    return device_number(max(reversed(known), key=lambda name: often[name], default=None))


def user_state(
    events: list[Event], row: dict[str, Any], items: dict[Any, dict[str, Any]], config: Settings, last: date
) -> dict[str, Any]:
    codes = config.event_codes()
    with_item = [event for event in events if event.item_id]
    history = with_item[-config.extract.history_length :]
    prices = [
        math.log1p(items[event.item_id]["price"]) for event in history if items[event.item_id]["price"] is not None
    ]
    longest = max(config.extract.count_windows)
    recent = {day_of(event.timestamp) for event in events if day_of(event.timestamp) > last - timedelta(days=longest)}
    seconds: Callable[[Event], int] = lambda event: int(event.timestamp.timestamp() // 1)  # noqa: E731
    pairs: dict[tuple[int, int], list[int]] = {}
    for event in with_item:
        pairs.setdefault((items[event.item_id]["item_index"], codes[event.event_type]), []).append(seconds(event))
    latest = sorted(pairs.items(), key=lambda pair: (-max(pair[1]), pair[0]))[: config.extract.pair_limit]
    return {
        "country": row.get("country") or next((e.country for e in reversed(events) if e.country), None),
        "age": row.get("age"),
        "n_events": len(events),
        "active_days": len(recent),
        "first_event": events[0].timestamp if events else None,
        "last_event": events[-1].timestamp if events else None,
        "usual_price": single(sum(prices) / len(prices)) if prices else None,
        "usual_device": usual_device(history),
        "history_item": [items[event.item_id]["item_index"] for event in history],
        "history_type": [codes[event.event_type] for event in history],
        "history_time": [seconds(event) for event in history],
        "pair_item": [pair[0] for pair, _ in latest],
        "pair_type": [pair[1] for pair, _ in latest],
        "pair_count": [len(times) for _, times in latest],
        "pair_last": [max(times) for _, times in latest],
        **counts(events, config, last),
    }


def sequences(world: World, config: Settings, ds: date) -> dict[str, dict[str, Any]]:
    """By user."""
    train, _ = cutoffs(config, ds)
    codes = config.event_codes()
    index = {row["item_id"]: row["item_index"] for row in item_states(world, config, ds)}
    snapshot = {row["user_id"]: row for row in world.users}
    found = {}
    for name, events in by_user(until(canonical(world, config, ds), train)).items():
        learnt = [event for event in events if event.item_id][-5 * config.extract.history_length :]
        if learnt:
            country = snapshot.get(name, {}).get("country")
            found[name] = {
                "item": [index[event.item_id] for event in learnt],
                "type": [codes[event.event_type] for event in learnt],
                "time": [int(event.timestamp.timestamp() // 1) for event in learnt],
                "device": [device_number(event.device) for event in learnt],
                "country": country or next((e.country for e in reversed(events) if e.country), "") or "",
            }
    return found


def vocabulary(world: World, config: Settings, ds: date) -> set[tuple[str, str, int, int]]:
    """(column, value, index, count) of the columns that the test streams fill."""
    train, _ = cutoffs(config, ds)
    learnt = until(canonical(world, config, ds), train)
    types = Counter(event.event_type for event in learnt)
    rows = {("event_type", kind, code, types[kind]) for kind, code in config.event_codes().items()}
    snapshot = {row["user_id"]: row for row in world.users}
    countries: Counter[str] = Counter()
    grouped = by_user(learnt)
    for name in set(grouped) | set(snapshot):
        latest = next((e.country for e in reversed(grouped.get(name, [])) if e.country), None)
        if country := snapshot.get(name, {}).get("country") or latest:
            countries[country] += 1
    words: Counter[str] = Counter()
    colours: Counter[str] = Counter()
    for row in world.items:
        words.update(set((row.get("title") or "").lower().split()))
        colours.update([row["colour"]] if row.get("colour") else [])
    for column, counted in (("country", countries), ("token", words), ("colour", colours)):
        ranked = sorted(counted.items(), key=lambda entry: (-entry[1], entry[0]))
        rows |= {(column, value, index, count) for index, (value, count) in enumerate(ranked, start=1)}
    return rows
