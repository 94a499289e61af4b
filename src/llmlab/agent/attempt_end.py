"""Writes the attempt's end, and then the run's SUCCESS or FAILURE marker. Only the watchdog lists the run as over: machines cannot."""

from dataclasses import dataclass, field, replace

from llmlab import contract
from llmlab.agent.exit_diagnosis import ExitDiagnosis
from llmlab.agent.job import Job, Say
from llmlab.agent.s3_store import Store
from llmlab.contract import Attempt, AttemptEnd, DataFile, EndReason, Marker, Progress

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

    `checkpoint` is the newest whole one's step: the attempt's end names it, and the marker the step that training had reached, which is
    that one at least, because a trainer that was interrupted while it loaded says step 0. When the watchdog has ended this attempt
    already, it has the say, and nothing is written.

    Raises:
        StoreError: S3 did not take it; doing it again is harmless.
    """
    step = max(progress.step if progress else 0, checkpoint)
    smaller = _half_the_batch(job, outputs, diagnosis)
    detail = "; ".join(filter(None, (diagnosis.detail[:MOST_WORDS], smaller)))
    end = AttemptEnd(job.run, job.attempt, diagnosis.reason, at, detail, checkpoint, totals.hours, totals.cost, totals.costs)
    key = job.keys.attempt_end(job.attempt)
    if not outputs.write_once(key, contract.dump(end).encode()):
        earlier = contract.load(AttemptEnd, outputs.read(key) or b"")
        if earlier.reason is not diagnosis.reason:
            say(f"this attempt was ended already: {earlier.reason}")
            return
    if diagnosis.reason.resumable or smaller:
        say(f"attempt {job.attempt} ended: {diagnosis.reason}; {smaller or 'the watchdog decides whether another follows'}")
        return
    marker = Marker(
        job.run, diagnosis.reason, at, job.attempt, diagnosis.detail, "", step,
        progress.total_steps if progress else 0, progress.loss if progress else None,
        totals.hours_before + totals.hours, totals.cost_before + totals.cost, files,
        diagnosis.hint_code, diagnosis.hint_values, progress.reward if progress else None, progress.margin if progress else None,
    )  # fmt: skip
    good = diagnosis.reason is EndReason.COMPLETED
    outputs.write(job.keys.success if good else job.keys.failure, _readable(marker, say))
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
