"""A bucket on its way to be empty: S3 says with HTTP 200 what it did not delete."""

from collections.abc import Mapping
from typing import Any

import pytest

from llmlab.aws import buckets, documents
from llmlab.aws.session import AwsError
from llmlab.contract import Names
from llmlab.errors import LabError
from tests.simulation.callers import SimulatedAws

NAMES = Names("lab", "123456789012", "us-east-1")
MOST_AT_ONCE = 1000
"""https://docs.aws.amazon.com/AmazonS3/latest/API/API_DeleteObjects.html"""
DENIED = {"Key": "runs/locked", "Code": "AccessDenied", "Message": "Access Denied because object protected by object lock"}


class S3:
    """Two pages of versions, one unfinished upload, and a `refusal` for what it keeps."""

    def __init__(self, refusal: Mapping[str, str] | None = None) -> None:
        self.refusal = refusal
        self.deleted: list[str] = []
        self.aborted: list[str] = []

    def call(self, _service: str, method: str, parameters: Mapping[str, Any]) -> Any:
        return getattr(self, method)(**parameters)

    def list_object_versions(self, **asked: Any) -> dict[str, Any]:
        if "NextToken" in asked:
            return {"DeleteMarkers": [{"Key": "runs/gone", "VersionId": "3"}]}
        return {"Versions": [{"Key": "runs/a", "VersionId": "1"}, {"Key": "runs/locked", "VersionId": "2"}], "NextToken": "2"}

    def delete_objects(self, **asked: Any) -> dict[str, Any]:
        keys = [item["Key"] for item in asked["Delete"]["Objects"]]
        assert len(keys) <= MOST_AT_ONCE
        refused = [self.refusal] if self.refusal and self.refusal["Key"] in keys else []
        self.deleted += [key for key in keys if not refused or key != self.refusal["Key"]]  # type: ignore[index]
        return {"Errors": refused} if refused else {}

    def list_multipart_uploads(self, **_: Any) -> dict[str, Any]:
        return {"Uploads": [{"Key": "runs/half", "UploadId": "u"}]}

    def abort_multipart_upload(self, **asked: Any) -> dict[str, Any]:
        self.aborted.append(asked["Key"])
        return {}


def aws(s3: S3) -> SimulatedAws:
    return SimulatedAws(NAMES, s3)  # type: ignore[arg-type]


def test_every_version_marker_and_unfinished_upload_goes() -> None:
    s3 = S3()
    buckets.empty(aws(s3), "outputs")
    assert sorted(s3.deleted) == ["runs/a", "runs/gone", "runs/locked"]
    assert s3.aborted == ["runs/half"]


def test_what_s3_keeps_is_named_with_its_reason() -> None:
    with pytest.raises(LabError, match="outputs/runs/locked: Access Denied because object protected"):
        buckets.empty(aws(S3(DENIED)), "outputs")


def test_documents_that_s3_keeps_are_named_too() -> None:
    with pytest.raises(AwsError, match="runs/locked: Access Denied") as refusal:
        documents.delete(aws(S3(DENIED)), "outputs", "runs/a", "runs/locked")
    assert refusal.value.code == "AccessDenied"


def test_more_documents_than_one_request_takes() -> None:
    s3 = S3()
    keys = [f"datasets/d/{number:05d}" for number in range(2 * MOST_AT_ONCE + 1)]
    documents.delete(aws(s3), "data", *keys)
    assert s3.deleted == keys
