"""Remove a run: every object that S3 keeps of it, with every version.

The files go first, then the documents, then the marker, then its entry in the list of ended runs: broken off anywhere, the run is still
over, so that nobody starts it again, and the same command goes on. Nothing else points at a run but its name.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby

from llmlab import contract
from llmlab.aws import documents, objects, run_names
from llmlab.aws.objects import Version
from llmlab.aws.session import Aws
from llmlab.contract import RunKeys
from llmlab.errors import LabError, Refused
from llmlab.lifecycle import instances
from llmlab.ops.runs import UnknownRun, detail, resolve


@dataclass(frozen=True)
class Leaving:
    """The objects of a run in S3. `files` counts keys, `versions` all versions under them, `size` is the bytes of all versions."""

    run: str
    name: str | None
    files: int
    versions: int
    size: int


def which(aws: Aws, text: str) -> str:
    """The run id that the user means, also of a run of which a removal has left only a part.

    Raises:
        LabError: there is no such run.
    """
    try:
        return resolve(aws, text)
    except UnknownRun:
        bucket = aws.names.outputs_bucket
        if contract.RUN_ID.fullmatch(text) and (
            documents.ended(aws, bucket, text) or documents.keys_under(aws, bucket, RunKeys(text).prefix)
        ):
            return text
        raise


def prepare(aws: Aws, run: str, now: datetime) -> Leaving:
    """Count the objects that removing a run would delete.

    Raises:
        Refused: the run is not over, or has an instance.
    """
    return _look(aws, run, now)[0]


def _look(aws: Aws, run: str, now: datetime) -> tuple[Leaving, list[Version]]:
    """The objects that removing a run would delete, counted and in full."""
    name = _over(aws, run, now)
    versions = list(_versions(aws, run))
    return Leaving(
        run, name, len({version.key for version in versions}), len(versions), sum(version.size for version in versions)
    ), versions


def _over(aws: Aws, run: str, now: datetime) -> str | None:
    """The name of a run that is over. A run whose documents cannot be read is over where EC2 shows no instance of it."""
    alive = [instance for instance in instances.find(aws.ec2, aws.names, run=run) if instance.alive]
    if alive:
        raise Refused(f"{run} has an instance: {alive[0].id} is {alive[0].state}", f"llmlab stop {run}")
    try:
        facts = detail(aws, run, now, machines=[])
    except (UnknownRun, documents.Unreadable):
        return run_names.of_runs(aws).get(run)
    if not facts.run.state.final:
        raise Refused(f"{run} is not over: it is {facts.run.state}", f"llmlab stop {run}")
    return facts.run.name


def remove(aws: Aws, run: str, now: datetime) -> Leaving:
    """Delete every object of a run, and release its name.

    Raises:
        Refused: as `prepare`.
        LabError: S3 keeps something; the run is still over, and the same command goes on.
    """
    leaving, versions = _look(aws, run, now)

    def rank(version: Version) -> int:
        return _rank(run, version.key)

    for _, together in groupby(sorted(versions, key=rank), key=rank):
        if refused := objects.delete_versions(aws, aws.names.outputs_bucket, together):
            raise LabError(f"{refused[0]}: it could not be deleted", f"llmlab rm {run}")
    if leaving.name:
        run_names.release(aws, leaving.name, run)
    return leaving


def _rank(run: str, key: str) -> int:
    keys = RunKeys(run)
    if key in {keys.success, keys.failure}:
        return 2
    if key.startswith(contract.ENDED):
        return 3
    return int(key == keys.spec or key.startswith(keys.attempts))


def _versions(aws: Aws, run: str) -> Iterator[Version]:
    for prefix in (RunKeys(run).prefix, f"{contract.ENDED}{run}/"):
        yield from objects.versions(aws, aws.names.outputs_bucket, prefix)
