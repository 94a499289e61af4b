"""Write, clear and put back the FAILURE marker of a run: for `stop` where no instance answers, and for `resume`.

The marker is replaced, not edited: in the versioned bucket the old one stays readable as an older version of the same object.
"""

from collections.abc import Sequence

from llmlab import contract
from llmlab.aws import documents
from llmlab.aws.session import Aws
from llmlab.clock import Clock
from llmlab.contract import EndReason, Marker, RunKeys
from llmlab.ops.run_status import Run


def stopped(aws: Aws, run: Run, clock: Clock, detail: str) -> bool:
    """Mark a run as stopped by its user, unless it has a marker already; returns whether it was marked.

    A marker of an earlier attempt does not count: a resume was cut short before it cleared it.
    """
    marker = Marker(
        run=run.run,
        reason=EndReason.STOPPED_BY_USER,
        ended=contract.build_timestamp(clock.now()),
        attempts=run.attempt or 0,
        detail=detail,
        hint=EndReason.STOPPED_BY_USER.hint(run.run),
        step=run.checkpoint or 0,
        total_steps=run.total_steps or 0,
        loss=run.loss,
        reward=run.reward,
        margin=run.margin,
        hours=run.hours or 0.0,
        cost=run.cost or 0.0,
    )
    bucket, keys = aws.names.outputs_bucket, RunKeys(run.run)
    former = failure(aws, run.run)
    if former and former.attempts < (run.attempt or 0):
        clear(aws, run.run)
    if documents.exists(aws, bucket, keys.success) or not documents.write_once(aws, bucket, keys.failure, marker, clock):
        return False
    documents.touch(aws, bucket, keys.ended(marker.reason))
    return True


def failure(aws: Aws, run: str) -> Marker | None:
    """The FAILURE marker, None when there is none."""
    return documents.read(aws, Marker, aws.names.outputs_bucket, RunKeys(run).failure)


def clear(aws: Aws, run: str) -> None:
    """Delete the FAILURE marker, and a stop request with it, so that the run may be resumed."""
    bucket, keys = aws.names.outputs_bucket, RunKeys(run)
    documents.delete(aws, bucket, keys.stop, keys.failure, *_ended(aws, run))


def put_back(aws: Aws, marker: Marker, clock: Clock) -> None:
    """Write the marker again that `clear` deleted, unless somebody has written a newer one meanwhile."""
    bucket, keys = aws.names.outputs_bucket, RunKeys(marker.run)
    if documents.write_once(aws, bucket, keys.failure, marker, clock) or failure(aws, marker.run) == marker:
        documents.touch(aws, bucket, keys.ended(marker.reason))


def unlist(aws: Aws, run: str) -> None:
    """Remove the run from the list of ended runs, where a watchdog that had seen its marker put it a moment after `clear`."""
    documents.delete(aws, aws.names.outputs_bucket, *_ended(aws, run))


def _ended(aws: Aws, run: str) -> Sequence[str]:
    return documents.keys_under(aws, aws.names.outputs_bucket, f"{contract.ENDED}{run}/")
