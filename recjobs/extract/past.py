"""Whether the extract that the plan pinned can be gone on from. Looked at again: a wrong past would stay for good."""

from __future__ import annotations

from recjobs.extract.job import Job, Past
from recjobs.manifest import PREVIOUS_EXTRACT, Inputs, Manifest


def past_of(job: Job, inputs: Inputs) -> tuple[Past | None, list[str]]:
    """What the job goes on from, or None, and a note of it; no note where the plan pinned nothing."""
    pinned = inputs.get(PREVIOUS_EXTRACT)
    if pinned is None:
        return None, []
    if reason := _refused(job, inputs, pinned):
        return None, [f"the whole window was read: {reason}"]
    days = [file.day for file in pinned.sources.events if file.day is not None]
    # Who was left out from its beginning is in none of its counts; who was forgotten since still is.
    left_out = set(pinned.sources.forgotten)
    counts_hold = pinned.forgotten.keys() <= left_out and set(job.left_out) == left_out
    first_day = min(days, default=pinned.ds)
    past = Past(pinned.folder, pinned.ds, pinned.cutoffs, first_day, pinned.rows["events"], counts_hold)
    return past, [f"made from the extract of {past.ds} and what arrived since; the report tells of that alone"]


def _refused(job: Job, inputs: Inputs, pinned: Manifest) -> str | None:
    """Why the pinned extract does not do."""
    if not job.window_start_of(job.ds) <= pinned.ds < job.ds:
        return f"the extract of {pinned.ds} is not of the window"
    then = {file.uri: file.digest for file in pinned.sources.events if file.day and file.day >= job.first_day}
    now = {file.uri: file.digest for file in inputs.sources.events if file.day and file.day <= pinned.ds}
    if then != now:
        return f"files of events have changed since the extract of {pinned.ds}"
    if set(pinned.sources.forgotten) - set(inputs.sources.forgotten) or pinned.sources.lifted != inputs.sources.lifted:
        return "a forgotten user has been remembered again"
    if set(job.left_out) - set(pinned.sources.forgotten) - pinned.forgotten.keys():
        return f"the extract of {pinned.ds} has yet to be rid of a forgotten user"
    if job.first_day > job.window_start and any(f.day and f.day < job.first_day for f in pinned.sources.events):
        return f"the days from {job.window_start} to {job.first_day} have no files any more"
    return None
