"""A pass over shards on Beam: the elements are references to files, never rows.

Workers write what they make; what comes back is small. An error of ours raised on a worker arrives here as it was
raised, so that the orchestrator knows whether to try again: Beam alone drops its details and changes its message, and
from another process its class. Other errors are Beam's to handle and arrive as it raises them.
"""

from __future__ import annotations

import logging
import pickle
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

from recjobs import storage
from recjobs.errors import RecjobsError, from_record, to_record
from recjobs.pipeline import BeamConfig, pipeline

logger = logging.getLogger(__name__)

Element = TypeVar("Element")
Result = TypeVar("Result")
Record = dict[str, Any]
"""What the work on one element tells of itself: counts by name, and the like."""


def run_pass(
    config: BeamConfig,
    name: str,
    work: Sequence[Element],
    prepare: Callable[[], Callable[[Element], Result]],
    scratch: str,
) -> list[Result]:
    """What the function that `prepare` returns gives for each element of `work`, in the order of `work`.

    The rest is as for `combined`, but `work` may be empty.

    Raises:
        RecjobsError: what `prepare` or the function raised; of several, that of the first element.
    """
    if not work:
        return []
    found = combined(config, name, list(enumerate(work)), partial(_numbering, prepare), _united, scratch)
    return [found[number] for number in range(len(work))]


def combined(
    config: BeamConfig,
    name: str,
    work: Sequence[Element],
    prepare: Callable[[], Callable[[Element], Result]],
    combine: Callable[[Iterable[Result]], Result],
    scratch: str,
) -> Result:
    """`combine` of what the function that `prepare` returns gives for each element of `work` (at least one).

    `prepare` is called once on each worker: it loads what all elements need. It, `combine`, elements and results are
    picklable; `combine` is associative and commutative. The function may run more than once for an element. The
    result passes through a file in the folder `scratch`, which is this pass's own and is gone afterwards.

    Raises:
        RecjobsError: what `prepare`, the function or `combine` raised; of several, that of the first element.
    """
    started = time.perf_counter()
    beam = _beam()
    result_uri = storage.join(scratch, "result.pickle")
    try:
        with pipeline(config) as graph:
            _ = (
                graph
                | f"{name}: list" >> beam.Create(list(enumerate(work)))
                | f"{name}: spread" >> beam.Reshuffle()
                | f"{name}: run" >> beam.ParDo(_worker(prepare))
                | f"{name}: combine" >> beam.CombineGlobally(partial(_combine, combine)).without_defaults()
                | f"{name}: store" >> beam.Map(partial(_store, result_uri))
            )
        outcome = pickle.loads(storage.read_bytes(result_uri))
    finally:
        storage.delete_folder(scratch)
    if isinstance(outcome, _Fault):
        raise from_record(outcome.error)
    logger.info("%s: %d parts in %.1f s", name, len(work), time.perf_counter() - started)
    result: Result = outcome
    return result


def ready(function: Callable[[Element], Result]) -> Callable[[], Callable[[Element], Result]]:
    """The `prepare` of a picklable function that needs nothing loaded."""
    return partial(_given, function)


def _given(function: Callable[[Element], Result]) -> Callable[[Element], Result]:
    return function


# -- results by the number of their element


def _numbering(
    prepare: Callable[[], Callable[[Element], Result]],
) -> Callable[[tuple[int, Element]], dict[int, Result]]:
    return partial(_numbered, prepare())


def _numbered(function: Callable[[Element], Result], element: tuple[int, Element]) -> dict[int, Result]:
    number, work = element
    return {number: function(work)}


def _united(parts: Iterable[dict[int, Result]]) -> dict[int, Result]:
    return {number: result for part in parts for number, result in part.items()}


# -- errors of ours as values, on their way through Beam


@dataclass(frozen=True)
class _Fault:
    number: int
    """Of the element that failed."""
    error: dict[str, Any]


def _worker(prepare: Callable[[], Callable[[Any], Any]]) -> Any:
    """The DoFn of numbered elements. Its class is made here because Beam is heavy to import."""

    class Worker(_beam().DoFn):  # type: ignore[misc]
        def setup(self) -> None:
            self.attempt = _attempting(prepare)

        def process(self, element: tuple[int, Any]) -> Iterator[Any]:
            yield self.attempt(element)

    return Worker()


def _attempting(prepare: Callable[[], Callable[[Any], Any]]) -> Callable[[tuple[int, Any]], Any]:
    try:
        return partial(_attempt, prepare())
    except RecjobsError as error:
        return partial(_refuse, to_record(error))


def _attempt(function: Callable[[Any], Any], element: tuple[int, Any]) -> Any:
    number, work = element
    try:
        return function(work)
    except RecjobsError as error:
        return _Fault(number, to_record(error))


def _refuse(error: dict[str, Any], element: tuple[int, Any]) -> _Fault:
    return _Fault(element[0], error)


def _combine(combine: Callable[[Iterable[Any]], Any], outcomes: Iterable[Any]) -> Any:
    found = list(outcomes)
    faults = [outcome for outcome in found if isinstance(outcome, _Fault)]
    if faults:
        return min(faults, key=lambda fault: fault.number)
    try:
        return combine(found)
    except RecjobsError as error:
        return _Fault(sys.maxsize, to_record(error))


def _store(uri: str, outcome: Any) -> None:
    storage.write_bytes(uri, pickle.dumps(outcome))


# -- Beam


def _beam() -> Any:
    """Beam, imported without the root logger's warning that BigQuery's client is missing: nothing here uses it."""
    root = logging.getLogger()
    root.addFilter(_worth_telling)
    try:
        import apache_beam

        return apache_beam
    finally:
        root.removeFilter(_worth_telling)


def _worth_telling(record: logging.LogRecord) -> bool:
    return "apitools not found" not in record.getMessage()
