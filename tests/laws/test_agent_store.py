"""The agent's store on S3: a file of many parts arrives whole, and S3 is heard to take it."""

import os
from pathlib import Path

import pytest

from llmlab.agent.s3_store import TRANSFER, S3Store
from llmlab.agent.shared_files import NotRegularFile, RegularFile
from llmlab.aws.session import Aws
from llmlab.clock import SystemClock

BYTES = TRANSFER.multipart_chunksize + 1_000_003


def store(aws: Aws) -> S3Store:
    aws.s3.create_bucket(Bucket="results")
    aws.s3.put_bucket_versioning(Bucket="results", VersioningConfiguration={"Status": "Enabled"})
    return S3Store(aws.s3, "results", SystemClock())


@pytest.mark.parametrize("size", [0, 1000, BYTES])
def test_a_file_of_any_size_arrives_whole_and_is_heard_to(lab_aws: Aws, tmp_path: Path, size: int) -> None:
    body = os.urandom(1000) * (size // 1000 + 1)
    (tmp_path / "f").write_bytes(body[:size])
    took: list[int] = []
    version = store(lab_aws).send(RegularFile(str(tmp_path), "f"), "key", took.append)
    answer = lab_aws.s3.get_object(Bucket="results", Key="key")
    assert answer["Body"].read() == body[:size]
    assert version == answer["VersionId"]
    assert sum(took) == size


@pytest.mark.parametrize("kind", ["link", "pipe"])
def test_what_is_no_regular_file_is_not_sent(lab_aws: Aws, tmp_path: Path, kind: str) -> None:
    if kind == "link":
        (tmp_path / "f").symlink_to("/etc/passwd")
    else:
        os.mkfifo(tmp_path / "f")
    with pytest.raises(OSError, match=r"Too many levels|no regular file") as caught:
        store(lab_aws).send(RegularFile(str(tmp_path), "f"), "key", lambda _: None)
    assert kind == "link" or isinstance(caught.value, NotRegularFile)
    assert lab_aws.s3.list_objects_v2(Bucket="results")["KeyCount"] == 0
