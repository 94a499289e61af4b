"""The runs of a lab: list them, read everything about one, and find the one that the user means.

Two listings tell about a thousand runs (`runs/` and `ended/`), and one call about all instances. Documents are read of live runs and of the
newest few that are over; how a run is follows from them in `run_status`.
"""

import difflib
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import datetime

from llmlab import contract
from llmlab.aws import documents, run_names
from llmlab.aws.documents import LabDocuments
from llmlab.aws.session import Aws
from llmlab.contract import Attempt, AttemptEnd, EndReason, Heartbeat, Marker, RunKeys, Spec
from llmlab.errors import LabError
from llmlab.lifecycle import instances
from llmlab.lifecycle.instances import Instance
from llmlab.lifecycle.run_documents import AttemptDocuments, Ended
from llmlab.ops.run_status import Run, assemble, finished, hidden, unreadable

SHOWN = 10
DETAILED = 3
"""How many ended runs have their marker read for the list, in a lab that has had more than `MANY` runs."""
MANY = 100


@dataclass(frozen=True)
class Detail:
    """One run with everything that is written about it. `unseen` is its instance while that is too new for EC2 to show it."""

    run: Run
    spec: Spec
    attempts: tuple[Attempt, ...]
    ends: tuple[AttemptEnd, ...]
    unseen: str = ""


@dataclass(frozen=True)
class Listing:
    """The newest runs, and how many there are."""

    runs: tuple[Run, ...]
    total: int
    live: int


def listing(aws: Aws, now: datetime, *, every: bool = False) -> Listing:
    """The live runs and the newest that are over; with `every`, all of them, each with its details.

    A run that is over by the listing and has a living machine is looked at closely: it may have been resumed.
    """
    bucket = aws.names.outputs_bucket
    with ThreadPoolExecutor(16) as pool:
        runs_future = pool.submit(documents.runs, aws, bucket)
        ended_future = pool.submit(documents.ended, aws, bucket)
        instances_future = pool.submit(instances.find, aws.ec2, aws.names)
        names_future = pool.submit(run_names.of_runs, aws)
        names, ended = runs_future.result(), ended_future.result()
        machines = by_run(instances_future.result())
        alive = {name for name, run_instances in machines.items() if any(instance.alive for instance in run_instances)}
        names = sorted({*names, *ended, *alive}, reverse=True)  # EC2 shows the ended machines of a removed run for an hour
        live = [name for name in names if name not in ended or name in alive]
        over = sorted({*names} - {*live}, reverse=True)
        shown = over if every else over[: max(0, SHOWN - len(live))]
        detailed = set(shown if every or len(names) <= MANY else shown[:DETAILED])
        futures = {name: pool.submit(read, aws, name, machines.get(name, []), now) for name in live}
        futures |= {name: pool.submit(_over, aws, name, ended[name], marker=name in detailed) for name in shown}
        called = names_future.result()
        facts = {name: replace(future.result(), name=called.get(name)) for name, future in futures.items()}
    count = sum(name not in ended or not facts[name].state.final for name in live)
    return Listing(tuple(facts[name] for name in sorted(facts, reverse=True)), len(names), count)


def by_run(all_instances: Iterable[Instance]) -> dict[str, list[Instance]]:
    """The instances of each run, by run id; instances without a run are left out."""
    machines: dict[str, list[Instance]] = {}
    for machine in all_instances:
        if contract.RUN_ID.fullmatch(machine.run):
            machines.setdefault(machine.run, []).append(machine)
    return machines


def marker_key(run: str, reason: EndReason) -> str:
    keys = RunKeys(run)
    return keys.success if reason is EndReason.COMPLETED else keys.failure


def read(aws: Aws, run: str, machines: Sequence[Instance], now: datetime) -> Run:
    """A run that is not in the list of ended runs, by its documents; where they are not readable, by EC2 alone."""
    try:
        return detail(aws, run, now, machines=machines).run
    except (documents.Unreadable, UnknownRun) as error:
        return unreadable(run, error.message, machines)


def _over(aws: Aws, run: str, ended: Ended, *, marker: bool) -> Run:
    """A run that is over by the listing, with its marker where that is asked for."""
    try:
        document = documents.read(aws, Marker, aws.names.outputs_bucket, marker_key(run, ended.reason)) if marker else None
    except documents.Unreadable as error:
        return replace(unreadable(run, error.message, ()), ended=ended.at)
    return finished(run, ended, document)


def detail(aws: Aws, run: str, now: datetime, machines: Sequence[Instance] | None = None) -> Detail:
    """Everything about one run.

    Raises:
        LabError: there is no such run.
    """
    bucket, keys = aws.names.outputs_bucket, RunKeys(run)
    with ThreadPoolExecutor(6) as pool:
        spec_future = pool.submit(documents.read, aws, Spec, bucket, keys.spec)
        heartbeat_future = pool.submit(documents.read, aws, Heartbeat, bucket, keys.status)
        marker_futures = [pool.submit(documents.read, aws, Marker, bucket, key) for key in (keys.success, keys.failure)]
        attempts_future = pool.submit(attempts, aws, run)
        run_instances = instances.find(aws.ec2, aws.names, run=run) if machines is None else machines
        spec = spec_future.result()
        if spec is None:
            raise unknown(aws, run, documents.runs(aws, bucket))
        heartbeat = heartbeat_future.result()
        marker = next((future.result() for future in marker_futures if future.result()), None)
        started = attempts_future.result()
    run_now = assemble(run, spec, run_instances, started.claims, started.ends, heartbeat, marker, now)
    return Detail(run_now, spec, started.claims, started.ends, hidden(run_instances, started.claims, started.ends, now))


def attempts(aws: Aws, run: str) -> AttemptDocuments:
    """The documents of a run's attempts."""
    with ThreadPoolExecutor(8) as pool:
        return LabDocuments(aws).attempts(run, pool.map)


def resolve(aws: Aws, text: str) -> str:
    """The run id that the user means: `latest`, a run id, a part of one that only one run has, or a name.

    Raises:
        LabError: there is no such run, with the nearest ones.
    """
    bucket = aws.names.outputs_bucket
    if contract.RUN_ID.fullmatch(text) and documents.exists(aws, bucket, RunKeys(text).spec):
        return text
    if not contract.name_fault(text) and (holder := run_names.holder(aws, text)):
        return holder
    names = documents.runs(aws, bucket)
    if text == contract.LATEST:
        if not names:
            raise LabError("there are no runs yet", first_step(aws))
        return names[-1]
    matches = [name for name in names if text and text in name]
    if len(matches) == 1:
        return matches[0]
    raise unknown(aws, text, names, matches, run_names.of_runs(aws))


def first_step(aws: Aws) -> str:
    """The command that comes next where there are no runs."""
    names = documents.datasets(aws)
    return "llmlab launch" if len(names) == 1 else f"llmlab launch --data {names[0]}" if names else "llmlab upload data/"


class UnknownRun(LabError):
    """There is no such run, or its spec is missing."""


def unknown(aws: Aws, text: str, names: Sequence[str], matches: Sequence[str] = (), called: Mapping[str, str] | None = None) -> UnknownRun:
    """The error that there is no such run, with the runs that come nearest, newest first."""
    if text in names:
        return UnknownRun(f"run {text} has no spec, so nobody can tell what it was", "llmlab status --all", without=[text])
    if not names:
        return UnknownRun(f"there is no run {text}, and no other run either", first_step(aws))
    if matches:
        return UnknownRun(
            f"{text} stands for {len(matches)} runs: {', '.join(sorted(matches, reverse=True)[:SHOWN])}", f"llmlab status {max(matches)}"
        )
    near = difflib.get_close_matches(text, [*names, *(called or {}).values()], n=3, cutoff=0.6) or sorted(names, reverse=True)[:3]
    return UnknownRun(f"there is no run {text}; the nearest: {', '.join(near)}", f"llmlab status {near[0]}")
