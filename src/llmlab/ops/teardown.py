"""Delete the lab: the watchdog and the instances first, then all resources in reverse order; then AWS is asked what is left."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from llmlab import stack
from llmlab.aws import documents, leftovers, secrets
from llmlab.aws.event_rule import EventRule
from llmlab.aws.function_permission import FunctionPermission
from llmlab.aws.lambda_function import Function
from llmlab.aws.owned import Leftover
from llmlab.aws.retired import SweepSchedule
from llmlab.aws.session import Aws
from llmlab.clock import Clock
from llmlab.config import Settings
from llmlab.contract import RunState
from llmlab.errors import LabError
from llmlab.infra.destroy import DeletionResult, Removal, destroy
from llmlab.lifecycle import instances
from llmlab.lifecycle.instances import Instance
from llmlab.ops import run_marker
from llmlab.ops.run_status import Run, hidden
from llmlab.ops.runs import UnknownRun, attempts, by_run, detail, listing

WAIT_SECONDS = 900
WATCHDOG = (EventRule, FunctionPermission, SweepSchedule, Function)
"""Resources of the watchdog, which go before the instances end, or it would start them again."""


@dataclass(frozen=True)
class TornDown:
    """The resources that were deleted, that were kept on purpose, and that AWS still shows although they should be gone."""

    lab: str
    account: str
    region: str
    instances: tuple[str, ...]
    stopped: tuple[str, ...]
    """Runs that were under way, and are recorded as stopped now."""
    deleted: tuple[str, ...]
    kept: tuple[str, ...]
    strangers: tuple[str, ...]
    """Resources of others that have a name of the lab's: they are left as they are."""
    shared: tuple[str, ...]
    """Resources of the account, which others use too: never deleted."""
    left: tuple[Leftover, ...]
    failure: str = ""
    """Why it stopped early, "" when it did not."""
    hint: str = ""
    """The command that mends that."""

    @property
    def clean(self) -> bool:
        return not self.left and not self.failure


def inventory(aws: Aws) -> list[Leftover]:
    """The resources that a teardown would delete, as AWS lists them."""
    return leftovers.find(aws, stack.RESOURCES)


def under_way(aws: Aws, clock: Clock) -> tuple[Run, ...]:
    """The runs that a teardown would end, newest first; without those whose documents cannot be read."""
    try:
        runs = listing(aws, clock.now()).runs
    except documents.NotBootstrapped:
        return ()
    return tuple(run for run in runs if not run.state.final and run.state is not RunState.UNREADABLE)


def teardown(
    settings: Settings, aws: Aws, clock: Clock, *, everything: bool, progress: Callable[[str], None] = lambda _line: None
) -> TornDown:
    """Delete the lab's resources, except the outputs bucket (the results), unless `everything`.

    The watchdog goes before the instances, because it would start them again. Runs under way are marked as stopped, since nobody goes on
    with them.
    """
    going_on = under_way(aws, clock)
    resources = stack.all_of(settings, aws, clock)
    deleted: list[str] = []
    kept: list[str] = []
    strangers: list[str] = []
    shared: list[str] = []
    ended: list[str] = []
    stopped: list[str] = []
    failure, hint = "", ""

    def note(removal: Removal) -> None:
        resource, fate = removal.resource, removal.fate
        if fate is DeletionResult.DELETED:
            deleted.append(resource.key)
            progress(f"{resource.key}: deleted")
        elif fate is DeletionResult.NOT_OURS and resource.key not in strangers:
            strangers.append(resource.key)
            progress(f"{resource.key}: left as it is, it is not ours")
        elif resource.shared:
            shared.append(resource.key)
        elif fate is DeletionResult.RETAINED and resource.exists():
            kept.append(resource.key)
            progress(f"{resource.key}: kept, it holds the results")

    try:
        destroy([resource for resource in resources if isinstance(resource, WATCHDOG)], progress=note)
        ended += _end_instances(aws, clock, progress)
        stopped += [run.run for run in going_on if not everything and _stop(aws, run.run, clock)]
        for secret in secrets.find(aws):
            secrets.delete(aws, secret.name)
            deleted.append(f"secret {aws.names.secret(secret.name)}")
        destroy(resources, everything=everything, progress=note)
    except LabError as error:
        failure, hint = error.message, error.hint
    left = tuple(leftover for leftover in inventory(aws) if everything or not leftover.results)
    return TornDown(
        lab=aws.lab,
        account=aws.account,
        region=aws.region,
        instances=tuple(ended),
        stopped=tuple(stopped),
        deleted=tuple(deleted),
        kept=tuple(kept),
        strangers=tuple(strangers),
        shared=tuple(shared),
        left=left,
        failure=failure,
        hint=hint,
    )


def _stop(aws: Aws, run: str, clock: Clock) -> bool:
    """Mark a run as stopped, unless it is over already; returns whether it was marked."""
    try:
        current = detail(aws, run, clock.now()).run
        return not current.state.final and run_marker.stopped(aws, current, clock, "the lab was torn down")
    except (documents.Unreadable, UnknownRun):
        return False


def _end_instances(aws: Aws, clock: Clock, progress: Callable[[str], None]) -> list[str]:
    """Terminate the instances with the lab's tags and wait until they are gone: resources that they hold cannot be deleted before."""
    for identity in _hidden(aws, clock):
        progress(f"instance {identity}: started just now, waiting for EC2 to show it")
        instances.wait_shown(aws.ec2, identity, clock)
    instance_ids = [instance.id for instance in instances.find(aws.ec2, aws.names) if instance.state != "terminated"]
    if not instance_ids:
        return []
    instances.terminate(aws.ec2, instance_ids)
    progress(f"{len(instance_ids)} instance{'' if len(instance_ids) == 1 else 's'}: terminating, this can take minutes")
    if not instances.wait_terminated(aws.ec2, instance_ids, clock, WAIT_SECONDS):
        raise LabError(f"instances did not end within {WAIT_SECONDS // 60} minutes: {', '.join(instance_ids)}", "llmlab teardown")
    for instance_id in instance_ids:
        progress(f"instance {instance_id}: terminated")
    return instance_ids


def _hidden(aws: Aws, clock: Clock) -> list[str]:
    """Instances that runs name and that EC2 does not show yet, because they were started just now."""
    bucket = aws.names.outputs_bucket
    try:
        going_on = sorted({*documents.runs(aws, bucket)} - {*documents.ended(aws, bucket)})
    except documents.NotBootstrapped:
        return []
    machines = by_run(instances.find(aws.ec2, aws.names))
    hidden_ids = (_hidden_of(aws, run, machines.get(run, []), clock) for run in going_on)
    return [identity for identity in hidden_ids if identity]


def _hidden_of(aws: Aws, run: str, machines: Sequence[Instance], clock: Clock) -> str:
    """The instance of one run that EC2 does not show yet, "" also where what is written about the run cannot be read."""
    try:
        started = attempts(aws, run)
        return hidden(machines, started.claims, started.ends, clock.now())
    except documents.Unreadable:
        return ""
