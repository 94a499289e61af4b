"""Writes the attempt's end, and then the run's SUCCESS or FAILURE marker. Only the watchdog lists the run as over: machines cannot."""

from dataclasses import dataclass, field, replace

from llmlab import contract
from llmlab.agent.exit_diagnosis import ExitDiagnosis
from llmlab.agent.job import Job, Say
from llmlab.agent.s3_store import Store
from llmlab.contract import Attempt, AttemptEnd, DataFile, EndReason, Marker, Progress
from llmlab.lifecycle import finish_run

MOST_WORDS = 2000
"""Characters of the training's own message about its end, where there is no room for more."""


@dataclass(frozen=True)
class Totals:
    """Hours and US dollars of this attempt alone, and of the attempts before it; `costs` are the parts of `cost`."""

    hours: float
    cost: float
    hours_before: float
    cost_before: float
    costs: dict[str, float] = field(default_factory=dict)


def write_end(
    job: Job,
    outputs: Store,
    diagnosis: ExitDiagnosis,
    totals: Totals,
    progress: Progress | None,
    files: tuple[DataFile, ...],
    *,
    checkpoint: int,
    at: str,
    say: Say,
) -> None:
    """Write how the attempt ended, and the run's marker unless the watchdog is to start it again.

    `checkpoint` is the newest whole one's step: the attempt's end names it, and the marker the step that training had reached. When the
    watchdog has ended this attempt already, it has the say, and nothing is written.

    Raises:
        StoreError: S3 did not take it; doing it again is harmless.
    """
    smaller = _half_the_batch(job, outputs, diagnosis)
    end = AttemptEnd(
        job.run, job.attempt, diagnosis.reason, at, "; ".join(filter(None, (diagnosis.detail[:MOST_WORDS], smaller))),
        checkpoint, totals.hours, totals.cost, totals.costs,
    )  # fmt: skip
    counts = finish_run.write_attempt_end(outputs, end)
    if counts is not diagnosis.reason:
        say(f"this attempt was ended already: {counts}")
        return
    if diagnosis.reason.resumable or smaller:
        say(f"attempt {job.attempt} ended: {diagnosis.reason}; {smaller or 'the watchdog decides whether another follows'}")
        return
    hinted = replace(end, detail=diagnosis.detail, hint_code=diagnosis.hint_code, hint_values=diagnosis.hint_values)
    marker = finish_run.marker_of(hinted, hours_before=totals.hours_before, cost_before=totals.cost_before, progress=progress)
    good = diagnosis.reason is EndReason.COMPLETED
    outputs.write(job.keys.success if good else job.keys.failure, _readable(replace(marker, files=files), say))
    say(f"run {job.run} ended: {diagnosis.reason}{': ' + diagnosis.detail if diagnosis.detail else ''}")


def _readable(marker: Marker, say: Say) -> bytes:
    """The marker as JSON, no larger than its readers read: of an output with too many files none is listed, and so none is checked."""
    try:
        return contract.encode(marker)
    except contract.ContractError as error:
        say(f"the marker lists no files: it would be {error}")
        return contract.encode(replace(marker, files=(), detail=marker.detail[:MOST_WORDS], hint_values={}))


def _half_the_batch(job: Job, outputs: Store, diagnosis: ExitDiagnosis) -> str:
    """What the next attempt trains with when this one ran out of memory and may be tried once more, in words; else ""."""
    if diagnosis.reason is not EndReason.OUT_OF_MEMORY or not job.spec.resume:
        return ""
    attempt = contract.load(Attempt, outputs.read(job.keys.attempt(job.attempt)) or b"")
    if not contract.may_shrink(job.spec.recipe, attempt.shrink):
        return ""
    return f"once more with {contract.batch_words(job.spec.recipe, contract.HALF_BATCH)}, which is the same step"
