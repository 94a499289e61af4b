"""What a training container may leave in the folders it writes, and what S3 may refuse: the run ends as it really ended, and in time."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from llmlab import contract
from llmlab.agent import log_upload, shared_files
from llmlab.agent.loop import STALLED_UPLOAD_SECONDS
from llmlab.agent.s3_store import Opening
from llmlab.agent.shared_files import RegularFile
from llmlab.contract import EndReason, LogStream, Marker, Outcome, Progress, RunKeys
from llmlab.trainer.control import Control
from tests.unit.agent.doubles import START, Machine, machine

GIVEN_SECONDS = 60


@pytest.fixture
def here(tmp_path: Path) -> Machine:
    return machine(tmp_path / "work")


def seconds(here: Machine) -> float:
    return (here.clock.now() - START).total_seconds()


def marker(here: Machine) -> Marker:
    keys = here.job.keys
    written = here.outputs.document(Marker, keys.success) or here.outputs.document(Marker, keys.failure)
    assert isinstance(written, Marker)
    return written


def trained(here: Machine) -> None:
    """A whole training: a checkpoint and an adapter."""
    here.checkpoint(10)
    Path(here.job.folder.output, "adapter").mkdir()
    Path(here.job.folder.output, "adapter", "adapter_model.safetensors").write_text("weights")


# ---------------------------------------------------------------- what is in the way


def a_pipe(path: Path) -> None:
    os.mkfifo(path)


def a_folder(path: Path) -> None:
    (path / "inner").mkdir(parents=True)


def a_link(path: Path) -> None:
    path.symlink_to("/etc/passwd")


def a_flood(path: Path) -> None:
    with path.open("wb") as stream:
        stream.truncate(1 << 30)  # a hole: it costs no disk


NAMES = (
    "training_exit", "marked", "ready", "progress.json", "outcome.json", "request.json", ".request.json.new", ".marked.new",
    ".progress.json.new",
)  # fmt: skip
"""Names in the control folder that somebody reads or writes, or did once."""


@pytest.mark.parametrize("plant", [a_pipe, a_folder, a_link, a_flood])
def test_whatever_lies_in_the_control_folder_the_run_ends_as_it_did(here: Machine, plant: Callable[[Path], None]) -> None:
    def planted() -> None:
        for name in NAMES:
            path = Path(here.job.folder.control, name)
            path.unlink(missing_ok=True)
            plant(path)

    here.at(20, planted)
    here.at(40, lambda: trained(here))
    here.at(GIVEN_SECONDS, lambda: here.leave(0))
    here.agent.run()
    assert marker(here).reason is EndReason.COMPLETED
    assert marker(here).detail == ""
    assert shared_files.read(here.job.folder.marked).strip() == EndReason.COMPLETED
    assert Path("/etc/passwd").read_text(encoding="utf-8").startswith("root:"), "what a link leads to is as it was"


@pytest.mark.parametrize("plant", [a_pipe, a_folder, a_link])
def test_a_request_reaches_the_trainer_whatever_lies_in_its_place(here: Machine, plant: Callable[[Path], None]) -> None:
    request = Path(here.job.folder.request)
    plant(request)
    plant(request.with_name(".request.json.new"))
    asked = contract.StopRequest(EndReason.STOPPED_BY_USER, "2026-11-23T12:00:00Z")
    here.agent._tell_trainer(asked)
    assert not request.is_symlink()
    assert contract.load(contract.StopRequest, request.read_bytes()) == asked


@pytest.mark.parametrize("plant", [a_pipe, a_folder, a_link])
def test_the_trainer_waits_at_nothing_that_lies_where_a_request_would(here: Machine, plant: Callable[[Path], None]) -> None:
    plant(Path(here.job.folder.request))
    assert Control(here.job.folder, here.clock).request() is None


def test_the_next_agent_goes_by_what_it_asked_and_not_by_what_the_trainer_says_it_did(here: Machine) -> None:
    here.control(here.job.folder.request, contract.StopRequest(EndReason.STOPPED_BY_USER, ""))
    agent = here.agent
    agent.begin()
    assert agent.request is None
    agent._tell_trainer(contract.StopRequest(EndReason.TIMED_OUT, ""))
    successor = here.agent
    successor.begin()
    assert successor.request == contract.StopRequest(EndReason.TIMED_OUT, "")


def test_what_the_trainer_says_never_makes_a_document_that_nobody_reads(here: Machine) -> None:
    """Whoever reads a document reads a limit: names of files, words, a phase and values of a hint are held to a part of it."""
    output = Path(here.job.folder.output)
    for index in range(1500):
        (output / f"{index:04d}{'n' * 150}").write_bytes(b"")
    values = {f"name{index}": "v" * 100 for index in range(5000)}
    here.control(here.job.folder.outcome, Outcome(EndReason.TRAINING_ERROR, "x" * 5000, hint_code="set", hint_values=values))
    here.control(here.job.folder.progress, Progress("p" * 500_000, 3, 9))
    here.at(20, lambda: here.leave(1))
    here.agent.run()
    for key in (here.job.keys.failure, here.job.keys.status, here.job.keys.attempt_end(1)):
        body = here.outputs.read(key)
        assert body
        assert len(body) < contract.DOCUMENT_BYTES, key
    assert (marker(here).hint_code, marker(here).hint_values) == ("", {})
    assert 1000 < len(marker(here).files) < 1500
    left_out = 1500 - len(marker(here).files)
    assert f"left out of the output: the last {left_out} of 1500 files, which the marker cannot name" in here.said


def test_an_outcome_that_is_a_book_is_none(here: Machine) -> None:
    """A document has a size; a sentence has another."""
    here.control(here.job.folder.outcome, Outcome(EndReason.DATA_ERROR, "x" * 5000))
    here.at(5, lambda: here.leave(65))
    here.agent.run()
    assert (marker(here).reason, len(marker(here).detail)) == (EndReason.DATA_ERROR, 1000)


# ---------------------------------------------------------------- what is uploaded


def test_only_regular_files_leave_the_output_and_the_rest_is_told_once(here: Machine, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.mkdir()
    (secret / "token").write_text("hf_x")
    output = Path(here.job.folder.output)
    trained(here)
    (output / "link").symlink_to(secret / "token")
    (output / "folder").symlink_to(secret)
    os.mkfifo(output / "pipe")
    (output / "escape\x1b[2J").write_text("x")
    (output / ("n" * 250)).mkdir()
    (output / ("n" * 250) / ("m" * 250)).mkdir()
    (output / ("n" * 250) / ("m" * 250) / ("o" * 250)).write_text("x")
    deep = output
    for _ in range(40):
        deep /= "d"
    deep.mkdir(parents=True)
    uploads = here.agent.uploads
    uploads.output()
    sent = uploads.output()
    assert [file.path for file in sent] == ["adapter/adapter_model.safetensors"]
    assert here.outputs.keys(here.job.keys.output) == [here.job.keys.output + "adapter/adapter_model.safetensors"]
    told = [line.removeprefix("left out of the output: ") for line in here.said if line.startswith("left out")]
    kinds = sorted(line.rpartition("' is ")[2] for line in told)
    assert kinds == ["a folder too deep", "a link", "a link", "a name that cannot be shown", "a name too long", "a pipe"]
    assert not any("\x1b" in line for line in here.said)


def test_an_output_folder_that_is_a_link_is_not_followed(here: Machine, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "secret").write_text("x")
    for folder in (here.job.folder.output, here.job.folder.checkpoints):
        Path(folder).rmdir()
        Path(folder).symlink_to(tmp_path / "elsewhere")
    uploads = here.agent.uploads
    uploads.everything()
    assert [key for key in here.outputs.keys(here.job.keys.prefix) if "secret" in key] == []
    assert "left out of the output: output is no folder" in here.said


def test_a_file_that_becomes_a_link_between_two_looks_is_not_followed(here: Machine, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("x")
    trained(here)
    folder = Path(here.job.folder.output, "adapter")
    file = RegularFile(here.job.folder.results, "output/adapter/adapter_model.safetensors")
    assert file.read() == b"weights"
    folder.rename(folder.with_name("old"))
    folder.symlink_to(tmp_path)
    (tmp_path / "adapter_model.safetensors").write_text("secret")
    assert file.read() == b""
    with pytest.raises(OSError, match=r"Not a directory|Too many levels"):
        file.open()


def test_a_large_file_is_opened_plainly_for_each_of_its_parts(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"0123456789")
    opening = Opening(RegularFile(str(tmp_path), "f"))
    assert opening.get_file_size("f") == 10
    with opening.open("f", "rb") as stream:
        assert stream.read() == b"0123456789"
    (tmp_path / "f").unlink()
    (tmp_path / "f").symlink_to("/etc/passwd")
    with pytest.raises(OSError, match="Too many levels"):
        opening.open("f", "rb")


# ---------------------------------------------------------------- what S3 refuses for ever


@pytest.mark.parametrize("refused", ["logs", "checkpoints", "status"])
def test_what_is_no_result_never_decides_how_a_run_ended(here: Machine, refused: str) -> None:
    keys = here.job.keys
    here.outputs.broken.add({"logs": keys.logs, "checkpoints": keys.checkpoints, "status": keys.status}[refused])
    Path(here.job.folder.logs, "training.log").write_text("step 1\n")
    here.at(40, lambda: trained(here))
    here.at(GIVEN_SECONDS, lambda: here.leave(0))
    here.agent.run()
    done = marker(here)
    assert (done.reason, [file.path for file in done.files]) == (EndReason.COMPLETED, ["adapter/adapter_model.safetensors"])
    assert seconds(here) <= GIVEN_SECONDS + STALLED_UPLOAD_SECONDS + 60, "the machine is not paid for until its deadline"


def test_an_output_that_s3_refuses_ends_a_quarter_of_an_hour_after_the_last_byte(here: Machine) -> None:
    here.outputs.broken.add(here.job.keys.output)
    here.at(40, lambda: trained(here))
    here.at(GIVEN_SECONDS, lambda: here.leave(0))
    here.agent.run()
    assert here.end.reason is EndReason.INSTANCE_LOST
    assert here.outputs.keys(here.job.keys.checkpoints), "the next attempt goes on from there"
    assert STALLED_UPLOAD_SECONDS - 60 <= seconds(here) - GIVEN_SECONDS <= STALLED_UPLOAD_SECONDS + 60


def test_bytes_that_still_come_prolong_the_last_upload_but_never_beyond_the_deadline(here: Machine) -> None:
    agent = here.agent
    agent.end = None
    agent._taken = (0, agent.now)
    for _ in range(10):
        here.clock.sleep(600)
        agent.uploads._take(1)
        assert agent._goes_on()
    here.clock.sleep(STALLED_UPLOAD_SECONDS)
    assert not agent._goes_on()


def test_a_marker_that_s3_refuses_does_not_keep_the_machine(here: Machine) -> None:
    here.outputs.broken |= {here.job.keys.success, here.job.keys.failure}
    here.at(GIVEN_SECONDS, lambda: here.leave(1))
    here.agent.run()
    assert seconds(here) <= GIVEN_SECONDS + STALLED_UPLOAD_SECONDS + 60
    assert shared_files.read(here.job.folder.marked).strip() == EndReason.TRAINING_ERROR


def test_the_host_sees_that_the_agent_lives_as_long_as_it_watches(here: Machine) -> None:
    alive = Path(here.job.folder.alive)
    agent = here.agent
    agent.begin()
    agent.look()
    os.utime(alive, (0, 0))
    agent.look()
    assert alive.stat().st_mtime == 0, "every ten seconds is enough"
    here.clock.sleep(10)
    agent.look()
    assert alive.stat().st_mtime > 0


# ---------------------------------------------------------------- floods


def written(here: Machine, monkeypatch: pytest.MonkeyPatch, head: bytes, *blocks: bytes, first: int = 0) -> str:
    """A log as the host writes it, with small limits: 50 bytes, 15 a block, 20 in S3."""
    monkeypatch.setattr(contract, "LOG_HEAD_BYTES", 50)
    monkeypatch.setattr(contract, "LOG_BLOCK_BYTES", 15)
    monkeypatch.setattr(contract, "LOG_KEPT_BYTES", 20)
    Path(here.job.folder.logs, "training.log").write_bytes(head)
    for number, block in enumerate(blocks, first):
        Path(here.job.folder.logs, f"training.log.{number:06d}").write_bytes(block)
    return here.job.folder.logs


def test_a_log_that_fits_is_whole(here: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = written(here, monkeypatch, b"0123456789")
    assert log_upload.log(folder, LogStream.TRAINING).kept() == b"0123456789"


def test_of_a_flood_the_beginning_and_the_end_are_kept_and_a_line_says_what_is_not(here: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    head = b"a" * 50 + b"\nand what follows is elsewhere\n"
    folder = written(here, monkeypatch, head, b"y" * 15, b"z" * 3, first=7)
    log = log_upload.log(folder, LogStream.TRAINING)
    assert log.total == 50 + 8 * 15 + 3
    assert log.kept() == b"a" * 10 + b"\n... 153 bytes are left out here ...\n" + b"y" * 7 + b"z" * 3
    assert log.last(4) == b"yzzz"


def test_a_log_that_stands_still_has_no_new_version_and_one_that_grows_has_few(here: Machine) -> None:
    path = Path(here.job.folder.logs, "training.log")
    uploads, key = here.agent.uploads, RunKeys(here.job.run).log(LogStream.TRAINING, 1)
    path.write_text("step 1\n")
    for _ in range(5):
        uploads.logs()
    assert len(here.outputs.objects[key]) == 1
    for minute in range(24 * 60):
        with path.open("a") as stream:
            stream.write(f"minute {minute}\n")
        uploads.everything()
    assert 30 < len(here.outputs.objects[key]) < 80
    uploads.logs()
    assert here.outputs.objects[key][-1].endswith(b"minute 1439\n"), "the last upload is not put off"
