"""What of the output goes to S3 again: whatever has changed, and nothing else; and what becomes of what S3 refuses."""

import os
from pathlib import Path

import pytest
from boto3.exceptions import S3UploadFailedError
from botocore.exceptions import ClientError, ReadTimeoutError

from llmlab import contract
from llmlab.agent.s3_store import S3Store, StoreError, UploadRefused
from llmlab.agent.uploads import Uploads
from llmlab.contract import EndReason, Marker
from llmlab.lifecycle import error_codes
from tests.unit.agent.doubles import START, Machine, data_file, machine

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


# ---------------------------------------------------------------- what S3 refuses


TOO_LONG = ("KeyTooLongError", "Your key is too long (KeyTooLongError)")
DENIED = ("AccessDenied", "User is not authorized to perform: s3:PutObject (AccessDenied)")


def finished(here: Machine, refused: str, why: tuple[str, str]) -> Marker:
    """The last word about a training that ended well at second 60, one of whose three files S3 refuses."""
    for name in ("a.txt", "b.txt", "c.txt"):
        Path(here.job.folder.output, name).write_text(name)
    here.outputs.refused[here.job.keys.output + refused] = why
    here.checkpoint(10)
    here.at(60, lambda: here.leave(0))
    here.agent.run()
    marker = here.outputs.document(Marker, here.job.keys.failure)
    assert isinstance(marker, Marker)
    return marker


@pytest.mark.parametrize(("why", "hint"), [(TOO_LONG, "logs"), (DENIED, "bootstrap_plan")])
def test_an_output_that_s3_refuses_is_a_failure_in_its_words_and_what_it_took_is_kept(
    here: Machine, why: tuple[str, str], hint: str
) -> None:
    marker = finished(here, "b.txt", why)
    assert (marker.reason, here.end.reason) == (EndReason.TRAINING_ERROR, EndReason.TRAINING_ERROR)
    assert not here.end.reason.resumable, "another machine would meet the same"
    assert marker.detail == f"the training ended well, but S3 refuses its output: {why[1]}"
    assert marker.hint_code == hint
    assert [file.path for file in marker.files] == ["a.txt", "c.txt"]
    assert here.job.keys.checkpoint(10) + contract.COMPLETE in here.outputs.objects


def test_what_s3_never_takes_is_not_waited_for(here: Machine) -> None:
    finished(here, "b.txt", TOO_LONG)
    assert (here.clock.now() - START).total_seconds() < 120


def test_what_s3_may_still_take_is_waited_for_beside_it(here: Machine) -> None:
    here.outputs.broken.add(here.job.keys.output + "c.txt")
    here.at(300, here.outputs.broken.clear)
    marker = finished(here, "b.txt", TOO_LONG)
    assert [file.path for file in marker.files] == ["a.txt", "c.txt"]
    assert "Your key is too long" in marker.detail


def answer(code: str, status: int) -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": "Words."}, "ResponseMetadata": {"HTTPStatusCode": status}}, "PutObject")  # type: ignore[typeddict-item]


class Refusing:
    """A client of S3 that answers every write with one error."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    def put_object(self, **_: object) -> None:
        raise self.error


@pytest.mark.parametrize(
    ("error", "final"),
    [
        (answer("KeyTooLongError", 400), True),
        (answer("EntityTooLarge", 400), True),
        (answer("AccessDenied", 403), False),
        (answer("NoSuchBucket", 404), False),
        (answer("RequestTimeout", 400), None),
        (answer("SlowDown", 503), None),
        (answer("InternalError", 500), None),
        (ReadTimeoutError(endpoint_url="https://s3"), None),
    ],
)
def test_a_refusal_is_told_from_what_passes(here: Machine, error: Exception, final: bool | None) -> None:
    store = S3Store(Refusing(error), "bucket", here.clock)
    with pytest.raises(StoreError) as caught:
        store.write("key", b"x")
    if final is None:
        assert not isinstance(caught.value, UploadRefused)
    else:
        assert isinstance(caught.value, UploadRefused)
        assert (caught.value.final, caught.value.says) == (final, f"Words ({caught.value.code})")


def wrapped(error: ClientError) -> None:
    """As boto3's own upload does it."""
    try:
        raise error
    except ClientError:
        raise S3UploadFailedError("Failed to upload")  # noqa: B904


def test_a_refusal_that_boto3s_own_upload_has_wrapped_is_one_too() -> None:
    with pytest.raises(S3UploadFailedError) as caught:
        wrapped(answer("KeyTooLongError", 400))
    assert error_codes.refusal(caught.value) == ("KeyTooLongError", "Words.")
