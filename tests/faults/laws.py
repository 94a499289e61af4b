"""What must hold once a command was run again, whatever broke it the first time."""

import hashlib
from collections.abc import Callable

from llmlab import __version__, contract
from llmlab.contract import PROJECT, Attempt, EndReason, Manifest, Marker, RunKeys
from llmlab.lifecycle import one_time_schedules
from tests.faults.before import ADAPTER, DOCKER_WORDS, the_run
from tests.faults.keeper import Outcome, apart
from tests.faults.stage import Stage, tags
from tests.faults.ways import Way


def whole_lab(stage: Stage, _first: Outcome, _way: Way) -> None:
    """The plan is empty, by the account itself there is one of each."""
    stage.do(stage.typed("bootstrap", "--plan"))
    for kind in ("vpcs", "internet_gateways"):
        found = getattr(stage.eyes.ec2, f"describe_{kind}")(Filters=[{"Name": "tag:Lab", "Values": [PROJECT]}])
        ((_, listed),) = ((key, value) for key, value in found.items() if isinstance(value, list))
        assert len(listed) == 1, (kind, len(listed))


def whole_upload(prefix: str, folder: str) -> Callable[[Stage, Outcome, Way], None]:
    """The manifest lists what is on disk, and each version that it names holds those bytes."""

    def law(stage: Stage, _first: Outcome, _way: Way) -> None:
        bucket = stage.eyes.names.data_bucket
        manifest: Manifest = stage.read(Manifest, bucket, prefix + contract.MANIFEST)
        disk = {path.name: path.read_bytes() for path in (stage.folder / folder).iterdir()}
        assert {file.path for file in manifest.files} == set(disk)
        for file in manifest.files:
            got = stage.eyes.s3.get_object(Bucket=bucket, Key=prefix + file.path, VersionId=file.version)["Body"].read()
            assert got == disk[file.path], file.path
            assert (file.size, file.sha256) == (len(got), hashlib.sha256(got).hexdigest())
        there = set(stage.keys(bucket, prefix))
        assert there == {prefix + name for name in (*disk, contract.MANIFEST)}

    return law


def one_launch(stage: Stage, first: Outcome, way: Way) -> None:
    """One instance, one schedule, one spec. Only what was killed may have left a run of its own, whole enough for the nets to end it."""
    runs = stage.runs()
    assert len(runs) <= (2 if way.kills else 1), f"{len(runs)} runs are left: {runs}"
    for run in runs:
        owned(stage, run, killed=first.killed)
    stray = {tags(one).get("Run") for one in stage.instances()} - set(runs)
    assert not stray, f"instances have no run: {stray}"
    timers_of_runs = {name for name in stage.schedules() if not name.startswith(PROJECT)}
    assert len(stage.instances()) >= 1
    assert timers_of_runs <= {one_time_schedules.schedule_name(run, 1) for run in runs} | {
        one_time_schedules.wake_name(run) for run in runs
    }, timers_of_runs
    if first.killed:
        whole = [run for run in runs if run in {tags(one).get("Run") for one in stage.instances()}]
        assert whole
        nets_end_everything(stage)


def owned(stage: Stage, run: str, *, killed: bool = False) -> None:
    """At most one instance; it is tagged, its run has a spec and a claim, and its deadline is scheduled and, unless its launch was
    killed, aimed at it."""
    mine = [one for one in stage.instances() if tags(one).get("Run") == run]
    assert len(mine) <= 1, f"{run} has {len(mine)} instances"
    keys = set(stage.keys(stage.eyes.names.outputs_bucket, RunKeys(run).prefix))
    for instance in mine:
        number = int(tags(instance)["Attempt"])
        assert {"Project", "Lab", "Run", "Attempt", "Deadline"} <= set(tags(instance))
        assert RunKeys(run).spec in keys
        assert RunKeys(run).attempt(number) in keys
        deadline = stage.eyes.client("scheduler").get_schedule(
            GroupName=stage.eyes.names.schedule_group, Name=one_time_schedules.schedule_name(run, number)
        )
        aimed = instance["InstanceId"] in deadline["Target"]["Input"]
        assert aimed or killed, f"the deadline of {instance['InstanceId']} is not aimed at it"


def nets_end_everything(stage: Stage) -> None:
    """Whatever a killed command has left, the watchdog's sweeps end after the deadline, in a copy of the account."""

    def later() -> None:
        stage.build_watchdog()
        for _ in range(3):
            stage.clock.sleep(3 * 3600)
            stage.do(stage.woken({"sweep": True}))
        assert not stage.instances()

    apart(later)


def one_stop(stage: Stage, _first: Outcome, _way: Way) -> None:
    keys = RunKeys(the_run(stage))
    there = set(stage.keys(stage.eyes.names.outputs_bucket))
    marker: Marker = stage.read(Marker, stage.eyes.names.outputs_bucket, keys.failure)
    assert marker.reason is EndReason.STOPPED_BY_USER
    assert keys.success not in there
    assert [key for key in there if key.startswith(contract.ENDED)] == [keys.ended(EndReason.STOPPED_BY_USER)]
    assert not stage.instances()
    assert not {one_time_schedules.schedule_name(keys.run, number) for number in (1, 2)} & stage.schedules()


def saved_stop(stage: Stage, first: Outcome, way: Way) -> None:
    """As the agent has left it: the step that it saved is in the run's last word."""
    one_stop(stage, first, way)
    marker: Marker = stage.read(Marker, stage.eyes.names.outputs_bucket, RunKeys(the_run(stage)).failure)
    assert marker.step == 7, marker


def pushed(stage: Stage, _first: Outcome, _way: Way) -> None:
    """Docker was let in, has built both images, and was told to push each tag of them, the training image's last, in this order."""
    said = (stage.folder / DOCKER_WORDS).read_text().splitlines()
    names = stage.eyes.names
    repositories = [f"{names.registry}/{repository}" for repository in (names.agent_repository, names.repository)]
    pushes = [f"push {repository}:{tag}" for repository in repositories for tag in (__version__, "latest")]
    wanted = ["login --username", "build --platform", "build --platform", *pushes]
    assert [one for one in said if one in wanted][-len(wanted) :] == wanted, said


def one_resume(stage: Stage, _first: Outcome, _way: Way) -> None:
    run = the_run(stage)
    keys = RunKeys(run)
    there = set(stage.keys(stage.eyes.names.outputs_bucket))
    assert len(stage.instances()) == 1
    owned(stage, run)
    assert keys.failure not in there
    assert not [key for key in there if key.startswith(contract.ENDED)]
    claims = sorted(
        number for key in there if key.startswith(keys.attempts) for number, kind in [contract.parse_attempt(key)] if kind == "claim"
    )
    assert claims == list(range(1, len(claims) + 1))
    newest: Attempt = stage.read(Attempt, stage.eyes.names.outputs_bucket, keys.attempt(claims[-1]))
    assert newest.instance == stage.instances()[0]["InstanceId"]


def whole_fetch(stage: Stage, _first: Outcome, _way: Way) -> None:
    target = stage.folder / "outputs" / the_run(stage)
    for name, body in ADAPTER.items():
        assert (target / name).read_bytes() == body
    assert (target / "logs" / "training.log").read_bytes() == b"step 1\n" * 100
    assert not list(target.rglob("*.part"))


def nothing_left(stage: Stage, _first: Outcome, _way: Way) -> None:
    """By the account itself; what a teardown keeps is the results alone."""
    kept = [one["Name"] for one in stage.eyes.s3.list_buckets()["Buckets"]]
    assert kept in ([], [stage.eyes.names.outputs_bucket])
    assert not stage.instances()


def lives_on(stage: Stage, _first: Outcome, _way: Way) -> None:
    """The interrupted run has one more attempt with one instance, and people were told."""
    run = the_run(stage)
    owned(stage, run)
    (instance,) = stage.instances()
    bucket, keys = stage.eyes.names.outputs_bucket, RunKeys(run)
    claims = [contract.parse_attempt(key) for key in stage.keys(bucket, keys.attempts)]
    numbers = sorted(number for number, kind in claims if kind == "claim")
    assert numbers == list(range(1, len(numbers) + 1))
    newest: Attempt = stage.read(Attempt, bucket, keys.attempt(numbers[-1]))
    assert newest.instance == instance["InstanceId"]
    named = [stage.read(Attempt, bucket, keys.attempt(number)).instance for number in numbers]
    assert len([one for one in named if one]) == 2, named
    assert one_time_schedules.wake_name(run) in stage.schedules()


def has_ended(reason: EndReason) -> Callable[[Stage, Outcome, Way], None]:
    def law(stage: Stage, _first: Outcome, _way: Way) -> None:
        run = the_run(stage)
        keys = RunKeys(run)
        assert not stage.instances(), "an instance is left"
        found = stage.read(Marker, stage.eyes.names.outputs_bucket, keys.failure).reason
        assert found is reason, f"it ended as {found}"
        assert keys.ended(reason) in stage.keys(stage.eyes.names.outputs_bucket, contract.ENDED), "it is not listed as over"
        left = {name for name in stage.schedules() if run in name}
        assert not left, f"schedules are left: {left}"

    return law


def secret_is(value: str) -> Callable[[Stage, Outcome, Way], None]:
    def law(stage: Stage, _first: Outcome, _way: Way) -> None:
        client = stage.eyes.client("secretsmanager")
        (found,) = client.list_secrets()["SecretList"]
        assert client.get_secret_value(SecretId=found["ARN"])["SecretString"] == value
        assert {one["Key"] for one in found["Tags"]} >= {"Project", "Lab"}

    return law
