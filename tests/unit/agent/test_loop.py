"""The agent on a machine of doubles: what it saves, what it hears, and the last word it writes."""

import dataclasses
import threading
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from llmlab import contract
from llmlab.agent.background import Threads
from llmlab.agent.exit_diagnosis import TrainingExit, diagnose, last_words
from llmlab.agent.gpu import GpuUse, NvidiaGpus
from llmlab.agent.job import Job
from llmlab.agent.model_download import bring_model
from llmlab.agent.prepare import PrepareError, check, prepare
from llmlab.agent.s3_store import S3Store, StoreError, persist
from llmlab.agent.stop_triggers import Signals, active_triggers
from llmlab.clock import ManualClock
from llmlab.contract import (
    Attempt,
    AttemptEnd,
    EndReason,
    Heartbeat,
    LogStream,
    Manifest,
    Marker,
    Metric,
    Outcome,
    Progress,
    Stop,
    StopRequest,
)
from llmlab.lifecycle.billing import Bill
from tests.unit.agent.doubles import START, Machine, data_file, machine, write_checkpoint


@pytest.fixture
def here(tmp_path: Path) -> Machine:
    return machine(tmp_path)


def marker(here: Machine) -> Marker:
    keys = here.job.keys
    found = here.outputs.document(Marker, keys.success) or here.outputs.document(Marker, keys.failure)
    assert isinstance(found, Marker)
    return found


# ---------------------------------------------------------------- a good end


def test_a_training_that_completes(here: Machine) -> None:
    keys = here.job.keys
    here.gpus.use = GpuUse(93.0, 17.5)

    def trained() -> None:
        here.checkpoint(40)
        (Path(here.job.folder.output) / "adapter").mkdir()
        (Path(here.job.folder.output) / "adapter" / "adapter_model.safetensors").write_text("adapter")
        (Path(here.job.folder.output) / ".adapter.new").mkdir()
        (Path(here.job.folder.output) / ".adapter.new" / "half").write_text("half")
        Path(here.job.folder.logs, "training.log").write_text("step 40\n")
        here.control(here.job.folder.progress, Progress("training", 40, 40, loss=1.25, tokens_per_second=900.0, reward=0.75, margin=0.5))

    here.at(10, lambda: here.checkpoint(20))
    here.at(100, trained)
    here.at(1800, lambda: here.leave(0))
    here.agent.run()
    done = marker(here)
    assert (done.reason, done.step, done.total_steps, done.loss) == (EndReason.COMPLETED, 40, 40, 1.25)
    assert (done.reward, done.margin) == (0.75, 0.5)
    assert done.hours == pytest.approx(0.5, abs=0.01)
    assert done.cost == pytest.approx(0.15, abs=0.01)
    assert [file.path for file in done.files] == ["adapter/adapter_model.safetensors"]
    assert done.command(here.job.run) == f"llmlab fetch {here.job.run}"
    assert here.end.reason is EndReason.COMPLETED
    order = here.outputs.order
    assert order.index(keys.output + "adapter/adapter_model.safetensors") < order.index(keys.attempt_end(1)) < order.index(keys.success)
    assert not here.outputs.keys(contract.ENDED), "a machine has no right to it"
    assert Path(here.job.folder.marked).read_text() == "completed\n"
    for step in (20, 40):
        saved = [key for key in order if key.startswith(keys.checkpoint(step))]
        assert saved[-1] == keys.checkpoint(step) + contract.COMPLETE
        assert len(saved) == 3
    assert here.outputs.read(keys.log(LogStream.TRAINING, 1)) == b"step 40\n"
    beat = here.outputs.document(Heartbeat, keys.status)
    assert (beat.checkpoint, beat.gpu_percent, beat.instance, beat.phase) == (40, 93.0, "i-1", "uploading")
    assert here.numbers.published[-1][Metric.LOSS] == 1.25
    assert here.numbers.published[-1][Metric.GPU_PERCENT] == 93.0


def test_success_is_not_said_when_the_output_could_not_be_saved(here: Machine) -> None:
    (Path(here.job.folder.output) / "card.md").write_text("x")
    here.outputs.broken = {here.job.keys.output}
    here.leave(0)
    here.agent.run()
    assert here.outputs.read(here.job.keys.success) is None
    assert here.end.reason is EndReason.INSTANCE_LOST
    assert Path(here.job.folder.marked).exists()


def test_an_s3_that_is_away_for_a_while_is_waited_for(here: Machine) -> None:
    (Path(here.job.folder.output) / "card.md").write_text("x")
    here.outputs.broken = {here.job.keys.prefix}
    here.leave(0)
    here.at(120, here.outputs.broken.clear)
    here.agent.run()
    assert marker(here).reason is EndReason.COMPLETED


# ---------------------------------------------------------------- what presses


def test_a_spot_notice_saves_and_leaves_the_marker_to_the_watchdog(here: Machine) -> None:
    asked: list[StopRequest] = []

    def notice() -> None:
        here.imds.notice = here.clock.now() + timedelta(seconds=120)

    def save() -> None:
        asked.append(contract.load(StopRequest, Path(here.job.folder.request).read_text()))
        here.checkpoint(33)
        here.leave(75)

    here.at(600, notice)
    here.at(620, save)
    here.agent.run()
    assert asked[0].reason is EndReason.SPOT_INTERRUPTED
    assert here.end.reason is EndReason.SPOT_INTERRUPTED
    assert here.outputs.read(here.job.keys.checkpoint(33) + contract.COMPLETE)
    assert here.outputs.read(here.job.keys.failure) is None
    assert not here.outputs.keys(contract.ENDED)


def test_a_short_spot_notice_still_leaves_the_trainer_time_to_save(here: Machine) -> None:
    """Ten seconds: the trainer has the first six of them, and the upload the rest."""
    asked: list[float] = []

    def notice() -> None:
        here.imds.notice = here.clock.now() + timedelta(seconds=15)

    def save() -> None:
        here.checkpoint(33)
        here.leave(75)

    real = here.background.within

    def within(name: str, seconds: float, work: Any, *going: Any) -> bool:
        asked.append(seconds)
        return real(name, seconds, work, *going)

    here.background.within = within  # type: ignore[method-assign]
    here.at(600, notice)
    here.at(607, save)
    here.agent.run()
    assert here.outputs.read(here.job.keys.checkpoint(33) + contract.COMPLETE)
    assert here.end.detail == ""
    assert all(seconds > 0 for seconds in asked)


def test_a_wedged_trainer_loses_against_a_short_notice_in_time(here: Machine) -> None:
    def notice() -> None:
        here.checkpoint(20)
        here.imds.notice = here.clock.now() + timedelta(seconds=15)

    here.at(600, notice)
    here.agent.run()
    assert 605 < (here.clock.now() - START).total_seconds() < 615
    assert "did not save in time" in here.end.detail


def test_the_share_of_a_short_notice_stays_as_it_was_when_it_was_heard() -> None:
    claim = Attempt("r", 1, contract.build_timestamp(START), 0, spot=True, by="launch", max_hours=1)
    gone = START + timedelta(seconds=20)
    looks = [
        active_triggers(
            Bill(claim, START, (), 0.3, 0.8), int(START.timestamp()) + 3600, START + timedelta(seconds=second), Signals(interruption=gone)
        )[0]
        for second in range(21)
    ]
    assert looks[0].leave_by == gone.timestamp() - 8
    assert [one.leave_by for one in looks] == sorted(one.leave_by for one in looks)
    assert all(one.leave_by <= one.gone_by for one in looks)


def test_a_wedged_trainer_does_not_keep_what_exists_from_being_saved(here: Machine) -> None:
    def notice() -> None:
        here.checkpoint(20)
        here.imds.notice = here.clock.now() + timedelta(seconds=120)

    here.at(600, notice)
    here.agent.run()
    assert (here.clock.now() - START).total_seconds() < 600 + 120
    assert here.end.reason is EndReason.SPOT_INTERRUPTED
    assert "did not save in time" in here.end.detail
    assert here.outputs.read(here.job.keys.checkpoint(20) + contract.COMPLETE)
    assert Path(here.job.folder.marked).exists()


def test_the_soft_deadline_comes_before_the_hard_one(here: Machine) -> None:
    asked: list[float] = []

    def watch() -> None:
        if Path(here.job.folder.request).exists():
            asked.append((here.clock.now() - START).total_seconds())
            here.leave(75)
        else:
            here.at((here.clock.now() - START).total_seconds() + 1, watch)

    here.at(1, watch)
    here.agent.run()
    assert 3600 - 300 <= asked[0] <= 3600 - 290
    assert marker(here).reason is EndReason.TIMED_OUT
    assert marker(here).command(here.job.run) == f"llmlab resume {here.job.run} --max-hours 6"


def test_a_short_run_keeps_most_of_its_time(tmp_path: Path) -> None:
    here = machine(tmp_path, hours=0.05)
    here.agent.run()
    assert 180 - 18 <= (here.clock.now() - START).total_seconds() < 180
    assert marker(here).reason is EndReason.TIMED_OUT


def test_a_stop_counts_when_it_is_younger_than_the_attempt(here: Machine) -> None:
    keys = here.job.keys
    here.outputs.write(keys.stop, contract.dump(Stop(here.job.run, contract.build_timestamp(START - timedelta(hours=1)))).encode())
    younger = contract.dump(Stop(here.job.run, contract.build_timestamp(START + timedelta(minutes=5)))).encode()
    here.at(300, lambda: here.outputs.write(keys.stop, younger))
    here.at(310, lambda: here.leave(75))
    here.agent.run()
    assert marker(here).reason is EndReason.STOPPED_BY_USER
    assert marker(here).reason.state is contract.RunState.STOPPED


def test_a_nearer_end_shortens_the_time_and_the_first_reason_stays(here: Machine) -> None:
    def notice() -> None:
        here.imds.notice = here.clock.now() + timedelta(seconds=120)

    here.outputs.write(here.job.keys.stop, contract.dump(Stop(here.job.run, contract.build_timestamp(START))).encode())
    here.at(60, notice)
    here.agent.run()
    assert (here.clock.now() - START).total_seconds() < 180
    assert marker(here).reason is EndReason.STOPPED_BY_USER


def test_the_price_is_the_pools_until_the_launcher_has_noted_it(tmp_path: Path) -> None:
    here = machine(tmp_path, instance="", price=0.0, launched="")
    assert here.agent.bill.price == 0.3
    noted = dataclasses.replace(here.attempt, instance="i-1", price=0.5)
    here.outputs.write(here.job.keys.attempt(1), contract.dump(noted).encode())
    agent = here.agent
    agent.look_for_stop()
    assert agent.bill.price == 0.5


def test_pressures_are_sorted_by_who_ends_first() -> None:
    claim = Attempt("r", 1, contract.build_timestamp(START), 0, spot=True, by="launch", max_hours=1)
    deadline = int(START.timestamp()) + 3600
    found = active_triggers(
        Bill(claim, START, (), 0.3, 0.8), deadline, START, Signals(interruption=START + timedelta(seconds=120), stopped=True)
    )
    assert [one.reason for one in found] == [EndReason.SPOT_INTERRUPTED, EndReason.STOPPED_BY_USER]
    assert all(one.leave_by < one.gone_by <= deadline for one in found)


# ---------------------------------------------------------------- the verdict

REQUEST = StopRequest(EndReason.STOPPED_BY_USER, "")


@pytest.mark.parametrize(
    ("code", "killed", "request_", "outcome", "reason", "words"),
    [
        (0, False, None, None, EndReason.COMPLETED, ""),
        (0, False, REQUEST, None, EndReason.COMPLETED, ""),
        (75, False, REQUEST, None, EndReason.STOPPED_BY_USER, ""),
        (137, False, REQUEST, None, EndReason.STOPPED_BY_USER, "before it had saved"),
        (137, False, None, None, EndReason.TRAINING_ERROR, "killed by signal 9"),
        (137, True, None, None, EndReason.OUT_OF_MEMORY, "memory"),
        (1, False, None, None, EndReason.TRAINING_ERROR, "last words"),
        (65, False, None, Outcome(EndReason.DATA_ERROR, "no labels"), EndReason.DATA_ERROR, "no labels"),
        (78, False, None, Outcome(EndReason.SETUP_FAILED, "no such model"), EndReason.SETUP_FAILED, "no such model"),
        (75, False, None, Outcome(EndReason.INSTANCE_LOST), EndReason.INSTANCE_LOST, ""),
        (1, False, None, Outcome(EndReason.COMPLETED, "all well"), EndReason.TRAINING_ERROR, "last words"),
    ],
)
def test_verdicts(code: int, killed: bool, request_: StopRequest | None, outcome: Outcome | None, reason: EndReason, words: str) -> None:
    verdict = diagnose(TrainingExit(code, killed), request_, outcome, "last words")
    assert verdict.reason is reason
    assert words in verdict.detail


def test_a_trainer_that_is_still_there() -> None:
    assert diagnose(None, REQUEST, None).reason is EndReason.STOPPED_BY_USER
    assert diagnose(None, None, None).reason is EndReason.TRAINING_ERROR


@pytest.mark.parametrize("progress", [None, Progress("loading"), Progress("training", 25, 40)])
def test_an_attempt_ends_at_its_newest_whole_checkpoint(tmp_path: Path, progress: Progress | None) -> None:
    """Also when its trainer was still loading, or had got further than it saved."""
    here = machine(tmp_path, number=2)
    agent = here.agent
    agent.uploads.have(20)
    if progress:
        here.control(here.job.folder.progress, progress)
    here.control(here.job.folder.request, StopRequest(EndReason.STOPPED_BY_USER, ""))
    here.leave(75)
    agent.run()
    assert here.end.step == 20
    assert marker(here).step == max(progress.step if progress else 0, 20)


@pytest.mark.parametrize(
    ("text", "parsed"),
    [("137 true\n", TrainingExit(137, True)), ("0 false", TrainingExit(0)), ("", None), ("137", None), ("x true", None)],
)
def test_the_exit_file(text: str, parsed: TrainingExit | None) -> None:
    assert TrainingExit.parse(text) == parsed


def test_last_words_are_the_last_line_that_says_something() -> None:
    assert last_words("a\nValueError: no.\n\n  \n") == "ValueError: no"
    assert last_words("") == ""


def test_the_watchdogs_word_stands(here: Machine) -> None:
    ended = AttemptEnd(here.job.run, 1, EndReason.INSTANCE_LOST, "2026-11-23T12:00:00Z")
    here.outputs.write(here.job.keys.attempt_end(1), contract.dump(ended).encode())
    here.leave(1)
    here.agent.run()
    assert here.outputs.read(here.job.keys.failure) is None
    assert Path(here.job.folder.marked).exists()


def test_an_agent_started_again_finishes_its_last_word(here: Machine) -> None:
    ended = AttemptEnd(here.job.run, 1, EndReason.COMPLETED, "2026-11-23T12:00:00Z")
    here.outputs.write(here.job.keys.attempt_end(1), contract.dump(ended).encode())
    here.leave(0)
    here.agent.run()
    assert marker(here).reason is EndReason.COMPLETED


# ---------------------------------------------------------------- checkpoints


def test_a_checkpoint_that_is_not_whole_is_not_sent(here: Machine) -> None:
    torn = here.checkpoint(10)
    (torn / "model.safetensors").write_text("torn")
    half = here.checkpoint(20)
    (half / contract.COMPLETE).unlink()
    agent = here.agent
    agent.uploads.checkpoints()
    assert here.outputs.keys(here.job.keys.checkpoints) == []


def test_what_leads_out_of_the_work_folder_is_not_sent(here: Machine, tmp_path_factory: pytest.TempPathFactory) -> None:
    """The training container writes the folders, and the agent's own files are not among them."""
    secret = tmp_path_factory.mktemp("elsewhere") / "secret"
    secret.write_text("token", encoding="utf-8")
    output = Path(here.job.folder.output)
    output.mkdir(parents=True, exist_ok=True)
    (output / "notes.txt").symlink_to(secret)
    here.checkpoint(10)
    named = Path(here.job.folder.checkpoints, contract.checkpoint_name(10))
    weights = next(path for path in named.iterdir() if path.name != contract.COMPLETE)
    secret.write_bytes(weights.read_bytes())
    weights.unlink()
    weights.symlink_to(secret)
    here.agent.uploads.everything()
    assert not [key for key in here.outputs.keys(here.job.keys.prefix) if "notes" in key or "checkpoint-10" in key]


def test_a_log_that_is_not_utf_8_is_no_reason_to_leave_a_run_without_its_marker(here: Machine) -> None:
    Path(here.job.folder.logs).mkdir(parents=True, exist_ok=True)
    Path(here.job.folder.logs, f"{LogStream.TRAINING}.log").write_bytes(b"loss \xff\xfe\n")
    here.agent.end = TrainingExit(1)
    here.agent.finish()
    assert marker(here).reason is EndReason.TRAINING_ERROR


def test_a_checkpoint_that_goes_away_meanwhile_never_gets_its_complete(here: Machine) -> None:
    place = here.checkpoint(10)
    here.outputs.on_send = lambda key: (place / "model.safetensors").unlink(missing_ok=True)
    here.agent.uploads.checkpoints()
    assert here.job.keys.checkpoint(10) + contract.COMPLETE not in here.outputs.objects


def test_the_newest_goes_first_and_nothing_goes_twice(here: Machine) -> None:
    here.checkpoint(10)
    here.checkpoint(20)
    uploads = here.agent.uploads
    uploads.checkpoints()
    sent = [key for key in here.outputs.order if "checkpoints" in key]
    assert sent[0].startswith(here.job.keys.checkpoint(20))
    uploads.checkpoints()
    here.agent.uploads.checkpoints()  # an agent that was started again
    assert [key for key in here.outputs.order if "checkpoints" in key] == sent
    assert uploads.newest == 20


def stored_checkpoint(here: Machine, tmp_path: Path, step: int) -> None:
    folder = write_checkpoint(tmp_path / "elsewhere", step)
    for path in folder.rglob("*"):
        if path.is_file():
            here.outputs.put(here.job.keys.checkpoint(step) + path.relative_to(folder).as_posix(), path.read_bytes())


def test_the_newest_whole_checkpoint_is_brought(tmp_path: Path) -> None:
    here = machine(tmp_path / "work", number=2)
    for step in (10, 20, 30, 40):
        stored_checkpoint(here, tmp_path, step)
    del here.outputs.objects[here.job.keys.checkpoint(40) + contract.COMPLETE]
    here.outputs.put(here.job.keys.checkpoint(30) + "model.safetensors", b"rotten")
    assert prepare(here.job, here.data, here.outputs, here.said.append) == 20
    there = Path(here.job.folder.checkpoints)
    assert sorted(path.name for path in there.glob("checkpoint-*")) == ["checkpoint-20"]
    assert (there / "checkpoint-20" / "state" / "rng.pth").read_text() == "rng 20"
    assert (there / "checkpoint-20" / contract.COMPLETE).exists()


def test_no_checkpoint_is_step_zero(here: Machine) -> None:
    assert prepare(here.job, here.data, here.outputs, here.said.append) == 0


# ---------------------------------------------------------------- data


def test_data_is_made_what_the_manifest_says(here: Machine) -> None:
    """Uploaded anew after the launch: the version of the spec counts, and what is too much goes."""
    folder = Path(here.job.folder.data)
    here.data.put("datasets/d/train.jsonl", b"old")
    here.data.put("datasets/d/train.jsonl", b"new")
    (folder / "train.jsonl").write_bytes(b"new")
    (folder / "extra.jsonl").write_bytes(b"later")
    (folder / "manifest.json").write_text("of today")
    manifest = Manifest("d", (data_file("train.jsonl", b"old", version="0"),), "then")
    check(manifest, "datasets/d/", folder, here.data, here.said.append)
    assert (folder / "train.jsonl").read_bytes() == b"old"
    assert sorted(path.name for path in folder.iterdir()) == ["manifest.json", "train.jsonl"]
    assert contract.load(Manifest, (folder / "manifest.json").read_text()) == manifest
    assert "1 fetched again" in here.said[-1]


def test_data_that_cannot_be_had_is_an_error_that_names_it(here: Machine) -> None:
    manifest = Manifest("d", (data_file("a.jsonl", b"one", version="0"),), "")
    with pytest.raises(PrepareError, match=r"a\.jsonl is not what was uploaded, and there is no"):
        check(manifest, "datasets/d/", Path(here.job.folder.data), here.data, here.said.append)
    here.data.put("datasets/d/a.jsonl", b"two")
    with pytest.raises(PrepareError, match="its SHA-256 is another"):
        check(manifest, "datasets/d/", Path(here.job.folder.data), here.data, here.said.append)


# ---------------------------------------------------------------- the rest


def test_persist_tries_until_its_time_is_up() -> None:
    clock, tries = ManualClock(START), []

    def work() -> None:
        tries.append(clock.now())
        raise StoreError("no")

    with pytest.raises(StoreError):
        persist(work, clock, lambda _: None, until=START.timestamp() + 60)
    assert [round((moment - START).total_seconds()) for moment in tries] == [0, 1, 3, 7, 15, 31]


def test_threads_run_one_of_a_name_and_say_what_failed() -> None:
    said: list[str] = []
    background, gate, runs = Threads(said.append), threading.Event(), []

    def slow() -> None:
        runs.append(1)
        gate.wait(5)

    def failing() -> None:
        raise StoreError("away")

    background.start("a", slow)
    background.start("a", slow)
    assert not background.within("a", 0.01, lambda: runs.append(2))
    gate.set()
    assert background.within("a", 5, failing)
    assert runs == [1, 2]
    assert said == ["a: away"]


def test_a_machine_without_a_gpu_has_none() -> None:
    assert NvidiaGpus().read() is None


class ForbiddenClient:
    """S3 as somebody sees it who may list some prefixes only: a missing object is forbidden."""

    def __init__(self, there: dict[str, bytes]) -> None:
        self.there = there

    def get_object(self, Bucket: str, Key: str) -> Any:  # noqa: N803 - boto3's names
        raise ClientError({"Error": {"Code": "AccessDenied", "Message": "Access Denied"}}, "GetObject")

    def get_paginator(self, name: str) -> Any:
        return self

    def paginate(self, Bucket: str, Prefix: str) -> Any:  # noqa: N803
        return [{"Contents": [{"Key": key} for key in self.there if key.startswith(Prefix)]}]


def test_a_missing_object_is_none_also_where_s3_says_forbidden() -> None:
    store = S3Store(ForbiddenClient({"runs/a": b""}), "bucket", ManualClock(START))
    assert store.read("runs/b") is None
    with pytest.raises(StoreError, match="AccessDenied"):
        store.read("runs/a")


# ---------------------------------------------------------------- gated models


class Secrets:
    """Secrets Manager with one secret, or none."""

    def __init__(self, **values: str) -> None:
        self.values = values

    def get_secret_value(self, *, SecretId: str) -> dict[str, str]:  # noqa: N803 - boto3's spelling
        name = SecretId.rpartition("/")[2].replace("-", "_")
        if name not in self.values:
            raise ClientError({"Error": {"Code": "ResourceNotFoundException", "Message": "no"}}, "GetSecretValue")
        return {"SecretString": self.values[name]}


def gated(here: Machine, model: str = "meta/model") -> Job:
    spec = dataclasses.replace(here.job.spec, model=None, recipe={**here.job.spec.recipe, "model": model, "revision": "v1"})
    return dataclasses.replace(here.job, spec=spec)


def test_a_gated_model_is_fetched_with_the_token(here: Machine) -> None:
    asked: list[tuple[str, str, str, str]] = []

    def download(model: str, revision: str, folder: Path, token: str) -> None:
        asked.append((model, revision, str(folder), token))

    assert bring_model(gated(here), Secrets(hf_token="hf_x"), download, here.said.append)
    assert asked == [("meta/model", "v1", here.job.folder.model, "hf_x")]
    assert not any("hf_x" in line for line in here.said)


def test_a_public_model_is_fetched_too_because_training_has_no_network(here: Machine) -> None:
    asked: list[tuple[str, str, str, str]] = []

    def download(model: str, revision: str, folder: Path, token: str) -> None:
        asked.append((model, revision, str(folder), token))

    assert bring_model(gated(here), Secrets(), download, here.said.append)
    assert asked == [("meta/model", "v1", here.job.folder.model, "")]
    assert here.said == ["model meta/model at v1 is here, fetched without a token"]
    assert not bring_model(here.job, Secrets(), download, here.said.append), "this one is the lab's own"
    with pytest.raises(PrepareError, match="from Hugging Face: gone"):
        bring_model(gated(here), Secrets(), refusing, here.said.append)


def refusing(model: str, revision: str, folder: Path, token: str) -> None:
    raise OSError("gone")


def test_a_refused_model_is_told_without_the_token(here: Machine) -> None:
    def refuse(model: str, revision: str, folder: Path, token: str) -> None:
        raise OSError(f"401 for {model} with {token}.\nmore")

    with pytest.raises(PrepareError, match=r"^the model meta/model cannot be fetched from Hugging Face: 401 for meta/model with …$"):
        bring_model(gated(here), Secrets(hf_token="hf_x"), refuse, here.said.append)
