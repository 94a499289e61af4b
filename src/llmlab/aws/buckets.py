"""The two buckets: data, which machines only read, and outputs, which holds the results."""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, ClassVar
from urllib.parse import unquote_plus

from llmlab.aws import policies, policies_documents, rates
from llmlab.aws.owned import AwsResource, Leftover, from_list, is_ours, to_list
from llmlab.aws.pages import every
from llmlab.aws.policies_documents import Policy, actions, allow, allow_anywhere
from llmlab.aws.rates import Rate
from llmlab.aws.session import AlreadyExists, Aws, Denied, NotFound
from llmlab.contract import Names
from llmlab.errors import LabError, Refused
from llmlab.infra.resource import Properties
from llmlab.lifecycle.deleting import delete_versions, versions_of

RULE = "llmlab-"
"""Lifecycle rules whose id begins so are ours; others are the user's own."""
BUSY = ("OperationAborted", "NoSuchBucket")
"""S3's error codes for a bucket that is still being created, changed or deleted; the second also for one that does not exist.
https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html; terraform repeats the same (its internal/service/s3/bucket.go)"""
SETTLE_SECONDS = 120
BUCKETS_AT_ONCE = 1000
"""An account with a quota of more than 10,000 buckets may list them in pages alone.
https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListBuckets.html"""
BLOCKED = {"BlockPublicAcls": True, "IgnorePublicAcls": True, "BlockPublicPolicy": True, "RestrictPublicBuckets": True}


@dataclass(frozen=True, kw_only=True)
class Bucket(AwsResource):
    """A private, versioned, encrypted bucket, reached over TLS only. Lifecycle rules and policy statements of the user's own survive."""

    archive: ClassVar[tuple[tuple[int, str], ...]]
    """The lifecycle transitions: (days, storage class) pairs."""

    def desired(self) -> Properties:
        return {
            "versioning": "Enabled",
            "encryption": "AES256",
            "public access": "blocked",
            "ownership": "BucketOwnerEnforced",
            "TLS only": policies.tls_only(self.name),
            "archive": ", ".join(f"{storage_class} after {days} days" for days, storage_class in self.archive),
            "old versions": "expire after 90 days",
            "stale uploads": "aborted after 7 days",
        }

    def read(self) -> Properties | None:
        versioning = self._versioning()
        if versioning is None:
            return None
        with ThreadPoolExecutor(5) as pool:  # seven answers, one after another, would be the longest wait of a plan
            encryption = pool.submit(self._ask, self.aws.s3.get_bucket_encryption)
            access = pool.submit(self._ask, self.aws.s3.get_public_access_block)
            ownership = pool.submit(self._ask, self.aws.s3.get_bucket_ownership_controls)
            policy = pool.submit(self._statements)
            rules = pool.submit(self._rules)
        default = encryption.result().get("ServerSideEncryptionConfiguration", {}).get("Rules", [{}])[0]
        owner = ownership.result().get("OwnershipControls", {}).get("Rules", [{}])[0]
        wanted = policies.tls_only(self.name)["Sid"]
        return {
            "versioning": versioning,
            "encryption": default.get("ApplyServerSideEncryptionByDefault", {}).get("SSEAlgorithm"),
            "public access": "blocked" if access.result().get("PublicAccessBlockConfiguration") == BLOCKED else "open",
            "ownership": owner.get("ObjectOwnership"),
            "TLS only": next((statement for statement in policy.result() if statement.get("Sid") == wanted), None),
            **_rules_in_words(rules.result()),
        }

    def _versioning(self) -> str | None:
        """The versioning status, None where there is no such bucket; also finds out whose it is."""
        try:
            return str(self.aws.s3.get_bucket_versioning(Bucket=self.name, ExpectedBucketOwner=self.aws.account).get("Status", "off"))
        except NotFound:
            return None
        except Denied as error:
            message = f"bucket {self.name} belongs to another account, or these credentials may not read it"
            raise Refused(message, self.way_out()) from error

    def _ask(self, call: Callable[..., Any]) -> Mapping[str, Any]:
        try:
            answer: Mapping[str, Any] = call(Bucket=self.name)
        except NotFound:
            return {}
        return answer

    def _statements(self) -> list[dict[str, Any]]:
        text = self._ask(self.aws.s3.get_bucket_policy).get("Policy")
        return policies_documents.statements(json.loads(text)) if text else []

    def _rules(self) -> list[dict[str, Any]]:
        return list(self._ask(self.aws.s3.get_bucket_lifecycle_configuration).get("Rules", []))

    def exists(self) -> bool:
        return self._versioning() is not None

    def tags(self) -> Mapping[str, str]:
        return from_list(self._ask(self.aws.s3.get_bucket_tagging).get("TagSet", []))

    def create(self) -> None:
        """Create the bucket. In us-east-1 the region must not be named; elsewhere it must be."""
        configuration: Any = {"Tags": to_list(self.names.tags)}
        if self.aws.region != "us-east-1":
            configuration["LocationConstraint"] = self.aws.region
        try:
            self._settled(
                lambda: self.aws.s3.create_bucket(
                    Bucket=self.name, CreateBucketConfiguration=configuration, ObjectOwnership="BucketOwnerEnforced"
                ),
                BUSY[:1],
            )
        except AlreadyExists as error:
            if error.code == "BucketAlreadyExists":
                raise Refused(f"the bucket name {self.name} is taken by another account", self.way_out()) from error
            raise

    def _settled(self, call: Callable[[], object], passing: Sequence[str]) -> None:
        """Repeat a call while S3 is still creating the bucket, or deleting one of the same name; the one place that does."""
        self.persist(call, passing, "S3 being done with it", seconds=SETTLE_SECONDS)

    def update(self, differs: Properties) -> None:
        """Each setting is a call of its own."""
        for change in self._changes(differs):
            self._settled(change, BUSY)

    def _changes(self, differs: Properties) -> Iterator[Callable[[], object]]:
        s3 = self.aws.s3
        if "versioning" in differs:
            yield lambda: s3.put_bucket_versioning(Bucket=self.name, VersioningConfiguration={"Status": "Enabled"})
        if "encryption" in differs:
            default: Any = {"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}}
            yield lambda: s3.put_bucket_encryption(Bucket=self.name, ServerSideEncryptionConfiguration={"Rules": [default]})
        if "public access" in differs:
            yield lambda: s3.put_public_access_block(Bucket=self.name, PublicAccessBlockConfiguration=BLOCKED)  # type: ignore[arg-type]
        if "ownership" in differs:
            yield lambda: s3.put_bucket_ownership_controls(
                Bucket=self.name, OwnershipControls={"Rules": [{"ObjectOwnership": "BucketOwnerEnforced"}]}
            )
        if "TLS only" in differs:
            policy = policies_documents.merged(self._statements(), [policies.tls_only(self.name)])
            yield lambda: s3.put_bucket_policy(Bucket=self.name, Policy=json.dumps(policy))
        if differs.keys() & {"archive", "old versions", "stale uploads"}:
            rules = [rule for rule in self._rules() if not rule.get("ID", "").startswith(RULE)] + self._wanted_rules()
            yield lambda: s3.put_bucket_lifecycle_configuration(Bucket=self.name, LifecycleConfiguration={"Rules": rules})  # type: ignore[typeddict-item]

    def _wanted_rules(self) -> list[dict[str, Any]]:
        everything = {"Status": "Enabled", "Filter": {"Prefix": ""}}
        transitions = [{"Days": days, "StorageClass": storage_class} for days, storage_class in self.archive]
        return [
            {"ID": RULE + "archive", **everything, "Transitions": transitions},
            {
                "ID": RULE + "old-versions",
                **everything,
                "NoncurrentVersionExpiration": {"NoncurrentDays": 90},
                "Expiration": {"ExpiredObjectDeleteMarker": True},
            },
            {"ID": RULE + "stale-uploads", **everything, "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 7}},
        ]

    def delete(self) -> None:
        """Delete the bucket with every version of every object. A writer that is still running gets a minute to end."""

        def delete() -> None:
            empty(self.aws, self.name)
            self.aws.s3.delete_bucket(Bucket=self.name)

        self.persist(delete, ("BucketNotEmpty", BUSY[0]), "the last writer ending", seconds=60)

    @classmethod
    def find_leftovers(cls, aws: Aws) -> Iterator[Leftover]:
        """Find both buckets by one list."""
        kinds = {kind(aws=aws).name: kind for kind in (DataBucket, OutputsBucket)}
        for bucket in every(aws.s3, "list_buckets", "Buckets", PaginationConfig={"PageSize": BUCKETS_AT_ONCE}):
            kind = kinds.get(bucket["Name"])
            if kind and is_ours(aws, _tags(aws, bucket["Name"])):
                yield Leftover(kind.kind, bucket["Name"], results=kind.retained)

    @classmethod
    def idle_cost(cls, aws: Aws, leftover: Leftover, now: datetime) -> Iterator[tuple[float, Rate]]:
        """What is stored. S3 measures its buckets once a day, for nothing; a bucket younger than that has no size yet."""
        client = aws.client("cloudwatch")
        named: Any = {"Namespace": "AWS/S3", "MetricName": "BucketSizeBytes"}
        dimensions: Any = [{"Name": "BucketName", "Value": leftover.id}]
        for page in client.get_paginator("list_metrics").paginate(**named, Dimensions=dimensions):
            for metric in page["Metrics"]:
                kind = next((item["Value"] for item in metric["Dimensions"] if item["Name"] == "StorageType"), "")
                window = {"StartTime": now - timedelta(days=3), "EndTime": now, "Period": 86400, "Statistics": ["Average"]}
                points = client.get_metric_statistics(**named, Dimensions=metric["Dimensions"], **window)["Datapoints"]
                if points:
                    newest = max(points, key=lambda point: point["Timestamp"])
                    yield newest["Average"] / rates.GB, rates.STORAGE.get(kind, rates.STORAGE["StandardStorage"])

    @classmethod
    def operator_statements(cls, names: Names) -> Iterable[Policy]:
        """The buckets, and what the commands and a deletion do with what is in them."""
        buckets = [f"arn:aws:s3:::{bucket}" for bucket in (names.data_bucket, names.outputs_bucket)]
        keep = actions(
            "s3",
            "CreateBucket",
            "DeleteBucket",
            "GetBucketOwnershipControls",
            "GetBucketPolicy",
            "GetBucketPublicAccessBlock",
            "GetBucketTagging",
            "GetBucketVersioning",
            "GetEncryptionConfiguration",
            "GetLifecycleConfiguration",
            "ListBucket",
            "ListBucketMultipartUploads",
            "ListBucketVersions",
            "PutBucketOwnershipControls",
            "PutBucketPolicy",
            "PutBucketPublicAccessBlock",
            "PutBucketVersioning",
            "PutEncryptionConfiguration",
            "PutLifecycleConfiguration",
            "TagResource",
        )
        objects = ("AbortMultipartUpload", "DeleteObject", "DeleteObjectVersion", "GetObject", "PutObject", "RestoreObject")
        return [
            allow_anywhere("List", ["s3:ListAllMyBuckets", *actions("cloudwatch", "GetMetricStatistics", "ListMetrics")]),
            allow("KeepBuckets", keep, buckets),
            allow("KeepObjects", actions("s3", *objects), [f"{bucket}/*" for bucket in buckets]),
        ]


@dataclass(frozen=True, kw_only=True)
class DataBucket(Bucket):
    """Datasets and models, which instances only read. To Glacier after 90 days; `fetch` and `launch` say what must be restored."""

    kind = "data bucket"
    archive = ((90, "GLACIER"),)

    @property
    def name(self) -> str:
        return self.names.data_bucket


@dataclass(frozen=True, kw_only=True)
class OutputsBucket(Bucket):
    """The bucket of runs: specs, checkpoints, adapters, logs, markers. These are the results, which teardown leaves."""

    kind = "outputs bucket"
    retained = True
    archive = ((30, "INTELLIGENT_TIERING"), (180, "GLACIER"))

    @property
    def name(self) -> str:
        return self.names.outputs_bucket


def _tags(aws: Aws, name: str) -> Mapping[str, str]:
    """The tags of a bucket of this account; those of another account's cannot be read."""
    try:
        return from_list(aws.s3.get_bucket_tagging(Bucket=name, ExpectedBucketOwner=aws.account)["TagSet"])
    except (NotFound, Denied):
        return {}


def _rules_in_words(rules: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    active = {rule.get("ID", ""): rule for rule in rules if rule.get("Status") == "Enabled" and not _narrowed(rule)}
    moves = active.get(RULE + "archive", {}).get("Transitions", [])
    old = active.get(RULE + "old-versions", {}).get("NoncurrentVersionExpiration", {}).get("NoncurrentDays")
    stale = active.get(RULE + "stale-uploads", {}).get("AbortIncompleteMultipartUpload", {}).get("DaysAfterInitiation")
    ordered = sorted(moves, key=lambda move: int(move.get("Days", 0)))
    return {
        "archive": ", ".join(f"{move['StorageClass']} after {move.get('Days')} days" for move in ordered) or None,
        "old versions": f"expire after {old} days" if old else None,
        "stale uploads": f"aborted after {stale} days" if stale else None,
    }


def _narrowed(rule: Mapping[str, Any]) -> bool:
    return rule.get("Filter", {}) not in ({}, {"Prefix": ""})


def empty(aws: Aws, bucket: str) -> None:
    """Delete every object version, delete marker and unfinished upload of a bucket, whatever characters their keys hold."""
    pages = aws.s3.get_paginator("list_object_versions").paginate(Bucket=bucket)

    def remove(page: Any) -> None:
        if refused := delete_versions(aws.s3, bucket, versions_of(page)):
            raise LabError(f"{bucket}/{refused[0]}: it could not be deleted", "llmlab teardown")

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(remove, pages))
    # boto3 asks every listing but this one for keys as they stand in an address
    for uploads in aws.s3.get_paginator("list_multipart_uploads").paginate(Bucket=bucket, EncodingType="url"):
        for upload in uploads.get("Uploads", []):
            key = unquote_plus(upload["Key"]) if uploads.get("EncodingType") == "url" else upload["Key"]
            aws.s3.abort_multipart_upload(Bucket=bucket, Key=key, UploadId=upload["UploadId"])
