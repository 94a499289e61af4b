"""Refusals of S3."""

from collections.abc import Mapping
from xml.parsers import expat

from llmlab.sandbox.refusals.rule import Call, On, Rule, Until

API = "https://docs.aws.amazon.com/AmazonS3/latest/API/"
ERRORS = f"{API}ErrorResponses.html"
SETTINGS = (
    "PutBucketTagging", "PutBucketVersioning", "PutBucketEncryption", "PutBucketPolicy", "PutPublicAccessBlock",
    "PutBucketOwnershipControls", "PutBucketLifecycleConfiguration", "PutBucketLifecycle", "PutBucketIntelligentTieringConfiguration",
)  # fmt: skip
CONDITIONAL = ("s3:PutObject", "s3:CompleteMultipartUpload")


MOST_DELETED = 1000
LONGEST_KEY = 1024
MALFORMED = "The XML you provided was not well-formed or did not validate against our published schema"


def _no_xml(call: Call) -> bool:
    """Whether the body is no valid XML 1.0, which excludes control characters, also as `&#x1B;`."""
    try:
        expat.ParserCreate().Parse(call.values["Body"], True)
    except expat.ExpatError:
        return True
    return False


def _too_many(call: Call) -> bool:
    return bool(call.values["Body"].count(b"<Object>") > MOST_DELETED)


def _long(call: Call) -> bool:
    return len(call.values["Key"].encode()) > LONGEST_KEY


def _conditional(call: Call) -> bool:
    return bool(call.values.get("IfNoneMatch") or call.values.get("IfMatch"))


def _deleted(call: Call) -> None:
    call.remember("bucket deleted", call.values["Bucket"])


def _made(call: Call) -> None:
    call.remember("bucket made", call.values["Bucket"])


def _aborted(call: Call) -> bool:
    return call.young(call.happened("bucket deleted", call.values["Bucket"]))


def _lost(call: Call) -> bool:
    return _conditional(call) and call.among_first(call.values["Key"])


def _new(call: Call) -> Mapping[str, object] | bool:
    return call.young(call.happened("bucket made", call.values["Bucket"])) and {"bucket": call.values["Bucket"]}


NOTED = {"s3:DeleteBucket": _deleted, "s3:CreateBucket": _made}
ROWS = (
    Rule(
        name="bucket-deleted-a-moment-ago",
        operations=("s3:CreateBucket",),
        when="a bucket of this name was deleted a moment ago",
        code="OperationAborted",
        message="A conflicting conditional operation is currently in progress against this resource. Please try again.",
        source="https://github.com/hashicorp/terraform-provider-aws/blob/main/internal/service/s3/bucket.go",
        applies=_aborted,
        status=409,
        on=On.NAMED,
        until=Until.WAITING,
        amount=30,
    ),
    Rule(
        name="bucket-settings-one-after-the-other",
        operations=tuple(f"s3:{name}" for name in SETTINGS),
        when="another setting of the bucket is being written",
        code="OperationAborted",
        message="A conflicting conditional operation is currently in progress against this resource. Please try again.",
        source="https://github.com/hashicorp/terraform-provider-aws/blob/main/internal/service/s3/bucket_server_side_encryption_configuration.go",
        applies=lambda call: call.among_first(f"{call.operation} {call.values['Bucket']}"),
        status=409,
        on=On.NAMED,
        until=Until.WAITING,
        amount=1,
    ),
    Rule(
        name="bucket-not-seen-yet",
        operations=tuple(f"s3:{name}" for name in SETTINGS),
        when="the bucket was made a moment ago",
        code="NoSuchBucket",
        message="The specified bucket does not exist",
        source="https://github.com/hashicorp/terraform-provider-aws/blob/main/internal/service/s3/service_package.go",
        applies=_new,
        status=404,
        on=On.NAMED,
        until=Until.WAITING,
        amount=5,
    ),
    Rule(
        name="conditional-write-conflicts",
        operations=CONDITIONAL,
        when="another write of the key is going on; nothing need be there",
        code="ConditionalRequestConflict",
        message="The conditional request cannot succeed due to a conflicting operation against this resource.",
        source="https://github.com/localstack/localstack/blob/main/tests/aws/services/s3/test_s3_api.snapshot.json",
        applies=_lost,
        status=409,
        on=On.NAMED,
        until=Until.WAITING,
        amount=1,
    ),
    Rule(
        name="conditional-write-succeeds-and-is-not-answered",
        operations=CONDITIONAL,
        when="the answer is lost on its way: who asks again meets what they have written, with 412",
        code="InternalError",
        message="We encountered an internal error. Please try again.",
        source=ERRORS,
        applies=_lost,
        status=500,
        carried_out=True,
        on=On.NAMED,
        until=Until.WAITING,
        amount=1,
    ),
    Rule(
        name="condition-not-met",
        operations=CONDITIONAL,
        when="there is an object of this key, and the write was to make it",
        code="PreconditionFailed",
        message="At least one of the pre-conditions you specified did not hold",
        source=f"{API}API_PutObject.html",
    ),
    Rule(
        name="too-many-requests",
        operations=("s3:PutObject", "s3:GetObject", "s3:ListObjectsV2"),
        when="a prefix gets more requests than S3 has made room for",
        code="SlowDown",
        message="Please reduce your request rate.",
        source="https://docs.aws.amazon.com/AmazonS3/latest/userguide/optimizing-performance.html",
        applies=lambda call: call.among_first(call.operation),
        status=503,
        on=On.NAMED,
        until=Until.WAITING,
        amount=1,
    ),
    Rule(
        "keys-that-xml-has-not", ("s3:DeleteObjects",), "a key holds a character that XML 1.0 has not, such as a control character",
        "MalformedXML", MALFORMED, "https://docs.aws.amazon.com/AmazonS3/latest/userguide/object-keys.html", applies=_no_xml, status=400,
    ),
    Rule(
        "more-than-a-thousand-deletions", ("s3:DeleteObjects",), "the request names more than 1,000 keys",
        "MalformedXML", MALFORMED, "https://docs.aws.amazon.com/AmazonS3/latest/API/API_DeleteObjects.html", applies=_too_many, status=400,
    ),
    Rule(
        "longer-key-than-there-is", ("s3:PutObject", "s3:CreateMultipartUpload"), "a key has more than 1,024 bytes of UTF-8",
        "KeyTooLongError", "Your key is too long", ERRORS, applies=_long, status=400,
    ),
    Rule(
        name="listed-keys-are-encoded",
        operations=("s3:ListObjectVersions", "s3:ListObjectsV2"),
        when="a listing is asked for with EncodingType url, as botocore does",
        code="",
        message="a key with control characters is listed in percent-encoding, which XML can hold",
        source=f"{API}API_ListObjectVersions.html",
    ),
)  # fmt: skip
