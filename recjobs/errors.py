"""Every error a caller may meet, in two families: retry it, or give up.

The orchestrator retries `RetryableError` (a database that is restarting, a bucket that times
out, events that have not arrived yet) and fails at once on `GiveUpError` (a typo, a corrupt
file, a refused gate): trying those again can't help.

A message names the value, the place and the fix. `details` carries the ids needed to act.
"""

from __future__ import annotations

from typing import Any


class RecjobsError(Exception):
    """Base of both families. `details` is JSON-serialisable and survives the process boundary."""

    exit_code = 1

    def __init__(self, message: str, **details: Any) -> None:
        super().__init__(message)
        self.details = details


class RetryableError(RecjobsError):
    """The same call may succeed later, unchanged."""

    exit_code = 75


class GiveUpError(RecjobsError):
    """The same call fails again until somebody changes an input, a setting or the code."""

    exit_code = 65


class SettingsError(GiveUpError):
    """A setting is unknown, missing or out of range."""

    exit_code = 78


class ContractError(GiveUpError):
    """Input does not keep the input contract: a column is missing or has the wrong type."""


class CorruptFileError(GiveUpError):
    """A file can't be read as what its name says it is."""


class QuarantineLimitError(GiveUpError):
    """More rows were quarantined than settings allow."""


class MissingDateError(GiveUpError):
    """A day that should have events has none, and settings do not declare it closed."""


class NotArrivedError(RetryableError):
    """The newest day's events have not arrived yet."""


class MissingInputError(GiveUpError):
    """A stage was started without something its plan should have pinned."""


class ModelError(GiveUpError):
    """A model can't be trained, saved or loaded, or gives values that are not finite."""


class GateRefusedError(GiveUpError):
    """Tonight's lists failed a gate check. The lists of the last good night stay live."""


class PublishError(GiveUpError):
    """A generation can't be loaded, checked or promoted."""


class PublishBusyError(RetryableError):
    """Another process is loading the same generation now."""


class DatabaseUnavailableError(RetryableError):
    """The database does not answer."""


class StorageUnavailableError(RetryableError):
    """The bucket or folder does not answer."""


class InputsRewrittenError(RetryableError):
    """A user was forgotten while a stage read: its inputs stand elsewhere now, without that user."""


class StageCrashedError(RetryableError):
    """A stage's process ended without a verdict: killed, out of memory, or a crash in native code."""


def _families() -> dict[str, type[RecjobsError]]:
    found: dict[str, type[RecjobsError]] = {}
    pending: list[type[RecjobsError]] = [RecjobsError]
    while pending:
        kind = pending.pop()
        found[kind.__name__] = kind
        pending.extend(kind.__subclasses__())
    return found


def to_record(error: RecjobsError) -> dict[str, Any]:
    """The error as JSON-serialisable values, for the other side of a process boundary."""
    return {"kind": type(error).__name__, "message": str(error), "details": error.details}


def from_record(record: dict[str, Any]) -> RecjobsError:
    """The error `to_record` wrote, with its own class; an unknown class gives `GiveUpError`."""
    kind = _families().get(record["kind"], GiveUpError)
    return kind(record["message"], **record["details"])
