"""Rows of S3, provoked."""

import io

import pytest

from llmlab.aws.session import Aws, AwsError
from llmlab.clock import ManualClock
from tests.sandbox.refusals.provocations import once, provokes

BUCKET = "bucket"


def versioning(aws: Aws) -> None:
    once(aws, "s3").put_bucket_versioning(Bucket=BUCKET, VersioningConfiguration={"Status": "Enabled"})


@provokes("bucket-deleted-a-moment-ago")
def _(aws: Aws, clock: ManualClock) -> None:
    for pause in (31, 29):
        aws.s3.create_bucket(Bucket=BUCKET)
        aws.s3.delete_bucket(Bucket=BUCKET)
        clock.sleep(pause)
    aws.s3.create_bucket(Bucket=BUCKET)


@provokes("bucket-settings-one-after-the-other")
def _(aws: Aws, clock: ManualClock) -> None:
    aws.s3.create_bucket(Bucket=BUCKET)
    versioning(aws)


@provokes("bucket-not-seen-yet")
def _(aws: Aws, clock: ManualClock) -> None:
    aws.s3.create_bucket(Bucket=BUCKET)
    clock.sleep(6)
    versioning(aws)
    clock.sleep(-2)
    versioning(aws)


def written(aws: Aws, body: bytes) -> None:
    """Write a key that nobody has."""
    once(aws, "s3").put_object(Bucket=BUCKET, Key="runs/1/SUCCESS", Body=io.BytesIO(body), IfNoneMatch="*")


@provokes("conditional-write-conflicts")
def _(aws: Aws, clock: ManualClock) -> None:
    """Nothing is there after it, and asking again does."""
    aws.s3.create_bucket(Bucket=BUCKET)
    aws.s3.put_object(Bucket=BUCKET, Key="unconditional", Body=b"x")
    with pytest.raises(AwsError) as caught:
        written(aws, b"x")
    assert "Contents" not in aws.s3.list_objects_v2(Bucket=BUCKET, Prefix="runs/")
    written(aws, b"x")
    raise caught.value


@provokes("conditional-write-succeeds-and-is-not-answered")
def _(aws: Aws, clock: ManualClock) -> None:
    """It is there after it, and asking again finds it taken."""
    aws.s3.create_bucket(Bucket=BUCKET)
    with pytest.raises(AwsError) as caught:
        written(aws, b"mine")
    assert aws.s3.get_object(Bucket=BUCKET, Key="runs/1/SUCCESS")["Body"].read() == b"mine"
    with pytest.raises(AwsError) as again:
        written(aws, b"mine")
    assert again.value.code == "PreconditionFailed"
    raise caught.value


@provokes("condition-not-met")
def _(aws: Aws, clock: ManualClock) -> None:
    aws.s3.create_bucket(Bucket=BUCKET)
    written(aws, b"first")
    written(aws, b"second")


@provokes("too-many-requests")
def _(aws: Aws, clock: ManualClock) -> None:
    aws.s3.create_bucket(Bucket=BUCKET)
    once(aws, "s3").list_objects_v2(Bucket=BUCKET)


@provokes("longer-key-than-there-is")
def _(aws: Aws, clock: ManualClock) -> None:
    aws.s3.create_bucket(Bucket=BUCKET)
    longest = "ä" * 512
    aws.s3.put_object(Bucket=BUCKET, Key=longest, Body=b"x")
    with pytest.raises(AwsError, match="Your key is too long"):
        aws.s3.create_multipart_upload(Bucket=BUCKET, Key=f"{longest}x")
    aws.s3.put_object(Bucket=BUCKET, Key=f"{longest}x", Body=b"x")


@provokes("listed-keys-are-encoded")
def _(aws: Aws, clock: ManualClock) -> bool:
    aws.s3.create_bucket(Bucket=BUCKET)
    versioning(aws)
    aws.s3.put_object(Bucket=BUCKET, Key="output/\x1b[2J", Body=b"x")
    listed = [one["Key"] for one in aws.s3.list_objects_v2(Bucket=BUCKET)["Contents"]]
    versions = [one["Key"] for one in aws.s3.list_object_versions(Bucket=BUCKET)["Versions"]]
    return listed == versions == ["output/\x1b[2J"]
