"""What a machine meets that nobody planned: a clock that jumps, no metadata service, a full disk, an S3 that is slow or away."""

from datetime import timedelta
from pathlib import Path

import pytest

from llmlab import contract
from llmlab.agent.attempt_end import Totals, write_end
from llmlab.agent.exit_diagnosis import ExitDiagnosis
from llmlab.agent.imds import HttpImds
from llmlab.contract import DataFile, EndReason, Marker
from tests.sampling import sampled
from tests.unit.agent.doubles import START, Machine, machine

HOUR = 3600.0


def leaves_when_asked(m: Machine, moments: list[float]) -> None:
    """A trainer that looks for the request every ten seconds, saves, and leaves; `moments` are when it was asked, by the right clock."""
    began = m.clock.start

    def look() -> None:
        passed = (m.clock.time - began).total_seconds()
        if Path(m.job.folder.request).exists():
            moments.append(passed)
            m.checkpoint(100)
            m.leave(75)
        else:
            m.clock.script[passed + 10] = look

    m.at(10, look)


@pytest.mark.parametrize("jump", sampled([HOUR, -HOUR], HOUR))
def test_a_clock_that_jumps(tmp_path: Path, jump: float) -> None:
    """The agent goes by the clock that it has: it asks for the end at its deadline, early or late by the jump and by no more. Late is
    what the machine's own timer, which no clock moves, and the guards outside are for.
    """
    m = machine(tmp_path, hours=4.0)
    asked: list[float] = []
    leaves_when_asked(m, asked)

    def jumps() -> None:
        m.clock.time += timedelta(seconds=jump)

    m.at(600, jumps)
    m.agent.run()
    (at,) = asked
    assert 3.5 * HOUR <= at <= 4 * HOUR, "by its own clock, whose hour that is"
    assert m.end.reason is EndReason.TIMED_OUT
    assert m.end.step == 100


def test_without_the_metadata_service_training_goes_on_and_ends_as_it_does(tmp_path: Path) -> None:
    """Only an interruption cannot be heard of; the attempt's claim says which instance it is."""
    m = machine(tmp_path)
    m.imds = HttpImds("http://127.0.0.1:1", m.clock)  # type: ignore[assignment] # a port at which nobody listens
    m.checkpoint(10)
    m.at(300, lambda: m.leave(0))
    m.agent.run()
    assert m.outputs.document(Marker, m.job.keys.success).reason is EndReason.COMPLETED
    assert m.job.keys.checkpoint(10) + contract.COMPLETE in m.outputs.objects


def test_slow_s3_is_waited_for_and_nothing_is_lost(tmp_path: Path) -> None:
    """Each file takes two minutes: the end comes later, and whole."""
    m = machine(tmp_path)
    m.outputs.on_send = lambda _key: setattr(m.clock, "time", m.clock.time + timedelta(seconds=120))
    m.checkpoint(10)
    m.at(300, lambda: m.leave(0))
    m.agent.run()
    assert m.outputs.document(Marker, m.job.keys.success).reason is EndReason.COMPLETED
    assert m.job.keys.checkpoint(10) + contract.COMPLETE in m.outputs.objects
    assert m.clock.time < START + timedelta(hours=1)


def test_a_full_disk_ends_the_trainer_and_what_was_saved_is_kept(tmp_path: Path) -> None:
    """The trainer leaves with an error and half a checkpoint; the agent needs no room for what it writes to S3."""
    m = machine(tmp_path)
    m.checkpoint(10)
    half = Path(m.job.folder.checkpoints) / contract.checkpoint_name(20)
    half.mkdir()
    (half / "model.safetensors").write_text("half")
    Path(m.job.folder.logs, "training.log").write_text("OSError: [Errno 28] No space left on device\n")
    m.at(120, lambda: m.leave(1))
    m.agent.run()
    marker = m.outputs.document(Marker, m.job.keys.failure)
    assert marker.reason is EndReason.TRAINING_ERROR
    assert "No space left on device" in marker.detail
    assert m.job.keys.checkpoint(10) + contract.COMPLETE in m.outputs.objects
    assert not [key for key in m.outputs.objects if key.startswith(m.job.keys.checkpoint(20))]


def test_an_output_of_too_many_files_to_list_leaves_a_marker_that_can_be_read(tmp_path: Path) -> None:
    m = machine(tmp_path)
    said: list[str] = []
    files = tuple(DataFile(f"{'x' * 200}/{number}", 1, "0" * 64) for number in range(20_000))
    verdict = ExitDiagnosis(EndReason.COMPLETED, "\x01" * (1 << 20))
    at = contract.build_timestamp(START)
    write_end(m.job, m.outputs, verdict, Totals(1, 1, 0, 0), None, files, checkpoint=10, at=at, say=said.append)
    body = m.outputs.read(m.job.keys.success) or b""
    assert len(body) <= contract.most_bytes(Marker)
    assert contract.load(Marker, body).files == ()
    assert len(m.outputs.read(m.job.keys.attempt_end(1)) or b"") <= contract.DOCUMENT_BYTES
    assert said[0].startswith("the marker lists no files: it would be too large for a marker")
