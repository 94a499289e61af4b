"""What of the output goes to S3 again: whatever has changed, and nothing else."""

import os
from pathlib import Path

import pytest

from llmlab.agent.uploads import Uploads
from tests.unit.agent_doubles import Machine, data_file, machine

SECOND = 10**9


@pytest.fixture
def here(tmp_path: Path) -> Machine:
    return machine(tmp_path)


def write(here: Machine, text: str, second: int) -> Path:
    """The adapter, written at a second of the clock."""
    adapter = Path(here.job.folder.output, "adapter.safetensors")
    adapter.write_text(text)
    os.utime(adapter, ns=(second * SECOND, second * SECOND))
    return adapter


def test_an_adapter_that_is_written_again_with_the_same_size_is_sent_again(here: Machine) -> None:
    uploads = Uploads(here.job, here.outputs, here.said.append)
    key = here.job.keys.output + "adapter.safetensors"
    versions = []
    for second, text in enumerate(["step 10", "step 20", "step 30"], start=1):
        write(here, text, second)
        (file,) = uploads.output()
        versions.append(file.version)
        assert here.outputs.read(key) == text.encode()
        assert file == data_file("adapter.safetensors", text.encode(), file.version)
    assert len(set(versions)) == 3


def test_what_has_not_changed_is_sent_once(here: Machine) -> None:
    uploads = Uploads(here.job, here.outputs, here.said.append)
    write(here, "step 10", 1)
    assert uploads.output() == uploads.output()
    assert len(here.outputs.objects[here.job.keys.output + "adapter.safetensors"]) == 1
