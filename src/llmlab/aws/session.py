"""The lab's connection to one AWS account and region, and what AWS's errors become.

Every client made here raises `AwsError` or a subclass instead of botocore's errors. They are still `ClientError`s, so that
botocore's own waiters and paginators read their codes. This is the one home of `boto3.Session`; everybody else is handed an `Aws`.
"""

from collections.abc import Callable
from functools import cached_property
from threading import Lock
from typing import TYPE_CHECKING, Any

import boto3
import botocore.session
from botocore import exceptions
from botocore.config import Config
from botocore.parsers import ResponseParserError

from llmlab.aws import refusal_words, shared_config
from llmlab.aws.refusal_words import OPERATOR_POLICY
from llmlab.contract import Names
from llmlab.errors import ExitCode, LabError, UsageError
from llmlab.infra.resource import Exists, Missing

if TYPE_CHECKING:
    from mypy_boto3_ec2 import EC2Client
    from mypy_boto3_s3 import S3Client


class AwsError(LabError, exceptions.ClientError):
    """AWS said no. `code` is its error code ("" when no answer came), `operation` the call, e.g. `ec2:CreateVpc`."""

    def __init__(self, message: str, hint: str = "", *, code: str = "", operation: str = "", response: Any = None) -> None:
        LabError.__init__(self, message, hint)
        self.code = code
        self.operation = operation
        self.operation_name = operation.partition(":")[2]
        answer: Any = response or {"Error": {"Code": code, "Message": message}}
        self.response = answer

    @property
    def passing(self) -> bool:
        """Whether the very same call may do: no answer came, the service was in trouble, or it was asked too often."""
        status: int = self.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        return isinstance(self, Unreachable) or status >= SERVER_ERROR or self.code in THROTTLED


class Denied(AwsError):
    """The credentials are good, but may not do `operation`."""

    exit_code = ExitCode.DENIED


class BadCredentials(AwsError):
    """There are no credentials, or AWS does not take them."""

    exit_code = ExitCode.DENIED


class NoRegion(LabError):
    """No AWS region is set."""

    exit_code = ExitCode.USAGE


class Unreachable(AwsError):
    """No answer: network, endpoint or region name."""


class NotFound(AwsError, Missing):
    """The resource that was asked for does not exist."""


class AlreadyExists(AwsError, Exists):
    """The resource that was to be created exists."""


__all__ = [
    "OPERATOR_POLICY", "AlreadyExists", "Aws", "AwsError", "BadCredentials", "Denied", "NotFound", "Unreachable", "translate",
]  # fmt: skip
COMMERCIAL = "aws"
"""The one partition that names, policies and prices are written for: ARNs of the others begin otherwise."""
SERVER_ERROR = 500
THROTTLED = {
    "RequestLimitExceeded", "SlowDown", "Throttled", "Throttling", "ThrottlingException", "TooManyRequestsException",
}  # fmt: skip
DENIED = {"AccessDenied", "AccessDeniedException", "UnauthorizedOperation", "AuthorizationError", "AuthorizationErrorException", "403"}
BAD_CREDENTIALS = {
    "InvalidClientTokenId", "UnrecognizedClientException", "AuthFailure", "SignatureDoesNotMatch", "InvalidAccessKeyId",
    "IncompleteSignature", "MissingAuthenticationToken", "InvalidSignatureException",
}  # fmt: skip
EXPIRED = {"ExpiredToken", "ExpiredTokenException", "RequestExpired", "TokenRefreshRequired"}
NOT_FOUND = {
    "404", "NoSuchKey", "NoSuchBucket", "NoSuchEntity", "NotFound", "NotFoundException", "ResourceNotFoundException", "ResourceNotFound",
    "RepositoryNotFoundException", "ImageNotFoundException", "ParameterNotFound", "NoSuchResourceException", "NoSuchVersion",
    "NoSuchUpload", "NoSuchLifecycleConfiguration", "NoSuchBucketPolicy", "NoSuchPublicAccessBlockConfiguration", "NoSuchTagSet",
    "OwnershipControlsNotFoundError", "ServerSideEncryptionConfigurationNotFoundError", "LifecyclePolicyNotFoundException",
}  # fmt: skip
ALREADY_EXISTS = {
    "EntityAlreadyExists", "ResourceAlreadyExistsException", "RepositoryAlreadyExistsException", "BucketAlreadyOwnedByYou",
    "DuplicateRecordException", "ResourceConflictException", "ConflictException", "ResourceExistsException", "InvalidKeyPair.Duplicate",
    "InvalidPermission.Duplicate", "RouteAlreadyExists", "InvalidGroup.Duplicate", "InvalidSubnet.Conflict",
}  # fmt: skip


def translate(error: Exception, operation: str, region: str) -> LabError:
    """A botocore exception as the domain error that tells the user what to do."""
    if isinstance(error, exceptions.ClientError):
        return _from_answer(error, operation, region)
    if isinstance(error, exceptions.CredentialRetrievalError):
        reason = str(error.kwargs.get("error_msg", "")).strip().rstrip(".") or "it said nothing"
        words = f"the AWS credentials could not be fetched by {error.kwargs.get('provider')}: {reason}"
        return BadCredentials(words, "aws sts get-caller-identity", operation=operation)
    if isinstance(error, exceptions.ConfigParseError):
        return shared_config.unreadable(error)
    if isinstance(error, (exceptions.NoCredentialsError, exceptions.PartialCredentialsError)):
        return BadCredentials("no AWS credentials were found", "aws configure", operation=operation)
    if isinstance(error, (exceptions.TokenRetrievalError, exceptions.SSOTokenLoadError, exceptions.UnauthorizedSSOTokenError)):
        return BadCredentials("the AWS sign-in has expired", "aws sso login", operation=operation)
    if isinstance(error, exceptions.EndpointConnectionError | exceptions.HTTPClientError):
        return Unreachable(f"AWS did not answer {operation} in region {region}", "llmlab doctor", operation=operation)
    if isinstance(error, ResponseParserError):
        return AwsError(f"{operation} failed: the answer cannot be read", "llmlab doctor", operation=operation)
    return AwsError(f"{operation} failed: {error}", "llmlab doctor", operation=operation)


def _from_answer(error: exceptions.ClientError, operation: str, region: str) -> AwsError:
    code = str(error.response.get("Error", {}).get("Code", ""))
    message = str(error.response.get("Error", {}).get("Message", "")).strip().rstrip(".")
    facts: dict[str, Any] = {"code": code, "operation": operation, "response": error.response}
    if mend := refusal_words.mend(code, message):
        words = f"{operation} failed: {mend.means.format(region=region)}" + (f" ({message})" if message else "")
        return AwsError(words, mend.hint.format(region=region), **facts)
    if code in DENIED:
        action, reason = refusal_words.ACTION.search(message), refusal_words.reason(message)
        words = f"AWS denied {action[1] if action else operation}" + (f": {reason}" if reason else "")
        return Denied(words, refusal_words.denied_hint(message), **facts)
    if code in EXPIRED:
        return BadCredentials("the AWS credentials have expired", "aws sso login", **facts)
    if code in BAD_CREDENTIALS:
        return _bad_credentials(region, facts)
    words = f"{operation} failed: {message or code}"
    if code in NOT_FOUND or code.endswith((".NotFound", ".Unknown", "NotFound", "NotFoundException")):
        return NotFound(words, "llmlab bootstrap --plan", **facts)
    if code in ALREADY_EXISTS or code.endswith(("AlreadyExists", ".AlreadyExistsException", ".Duplicate")):
        return AlreadyExists(words, "llmlab bootstrap --plan", **facts)
    return AwsError(words, "llmlab doctor", **facts)


def _bad_credentials(region: str, facts: dict[str, Any]) -> BadCredentials:
    """A region that is not switched on answers good credentials as if they were bad ones.

    https://github.com/boto/boto3/issues/2065
    """
    words = "AWS does not accept these credentials"
    if refusal_words.must_be_enabled(region):
        return BadCredentials(f"{words}, or region {region} is not enabled in this account", refusal_words.enable(region), **facts)
    return BadCredentials(words, "aws configure", **facts)


class _Translating:
    """Mixed into every client class: the one place where botocore's exceptions are caught."""

    def _make_api_call(self, operation_name: str, api_params: Any) -> Any:
        try:
            return super()._make_api_call(operation_name, api_params)  # type: ignore[misc]
        except LabError:
            raise
        except (exceptions.ClientError, exceptions.BotoCoreError, ResponseParserError) as error:
            meta: Any = self.meta  # type: ignore[attr-defined]
            if isinstance(error, exceptions.ParamValidationError):
                raise
            raise translate(error, f"{meta.service_model.service_name}:{operation_name}", meta.region_name) from error


def _add_translation(base_classes: list[type], **_: object) -> None:
    base_classes.insert(0, _Translating)


class Aws:
    """One account and region. Clients are made once each, and are safe to share between threads.

    `before_call` is handed every call as `service:Operation` before it is sent: the tests' recorder, and `-vv`.
    """

    def __init__(
        self, region: str | None = None, profile: str | None = None, *, lab: str, before_call: Callable[[str], None] | None = None
    ) -> None:
        self.lab = lab
        try:
            core: Any = botocore.session.Session(profile=profile)  # its stubs know events only by name
            core.register("creating-client-class", _add_translation)
            shared_config.prepare(core, region)
            self.session: Any = boto3.Session(botocore_session=core, region_name=region)
        except exceptions.ProfileNotFound as error:
            raise BadCredentials(f"there is no AWS profile named {profile}", "aws configure list-profiles") from error
        if not self.session.region_name:
            raise NoRegion("no AWS region is set", "llmlab --region us-east-1")
        self.region: str = self.session.region_name
        _check_partition(core, self.region)
        self._lock = Lock()
        self._clients: dict[tuple[str, str], Any] = {}
        if before_call:
            core.register("before-call", lambda model, **_: before_call(f"{model.service_model.service_name}:{model.name}"))

    def client(self, service: str, *, region: str | None = None, attempts: int = 5) -> Any:
        """A client. `attempts` 1 switches retries off, as a launch needs: a pool without capacity answers 500 however often."""
        key = (service, f"{region}/{attempts}")
        with self._lock:
            if key not in self._clients:
                config = Config(
                    retries={"total_max_attempts": attempts, "mode": "standard"},
                    max_pool_connections=32,
                    connect_timeout=10,
                    read_timeout=60,
                    user_agent_extra="llmlab",
                    # every body carries a checksum; over https botocore leaves it at that, over http it would hash all a second time
                    s3={"us_east_1_regional_endpoint": "regional", "payload_signing_enabled": False},
                )
                try:
                    self._clients[key] = self.session.client(service, region_name=region, config=config)
                except (exceptions.BotoCoreError, ValueError) as error:
                    raise translate(error, service, region or self.region) from error
            return self._clients[key]

    @property
    def s3(self) -> "S3Client":
        client: S3Client = self.client("s3")
        return client

    @property
    def ec2(self) -> "EC2Client":
        client: EC2Client = self.client("ec2")
        return client

    @cached_property
    def account(self) -> str:
        return str(self.client("sts").get_caller_identity()["Account"])

    @cached_property
    def names(self) -> Names:
        return Names(self.lab, self.account, self.region)


def _check_partition(session: Any, region: str) -> None:
    """GovCloud, China and the European Sovereign Cloud have other ARNs, endpoints and prices: told before anything is made.

    https://docs.aws.amazon.com/whitepapers/latest/aws-fault-isolation-boundaries/partitions.html
    """
    try:
        partition = session.get_partition_for_region(region)
    except exceptions.UnknownRegionError:
        return  # newer than this botocore, or mistyped: AWS will not answer
    if partition != COMMERCIAL:
        raise UsageError(
            f"region {region} is in the partition {partition}, and llmlab works in AWS's commercial regions alone",
            "llmlab --region us-east-1 bootstrap --plan",
        )
