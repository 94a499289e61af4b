"""S3: tags given to CreateBucket are kept, listings leave out deleted folders, and the TLS condition of a bucket policy is evaluated.

Versions and uploads are listed whatever characters their keys hold, with `encoding-type=url`. Moto ignores the TLS condition, so that a
policy meant for plain HTTP would deny everything.
"""

import json
from contextvars import ContextVar
from typing import Any
from urllib.parse import quote_plus

from llmlab.sandbox.completion import fail

_secure: ContextVar[bool] = ContextVar("secure", default=True)
"""Whether the current request came over TLS, by its URL. The sandbox's server stands for a TLS endpoint."""


def install() -> None:
    """Patch moto's S3."""
    _keep_tags()
    _list_what_is_there()
    _list_without_bodies()
    _encode_keys()
    _evaluate_transport()


def _list_what_is_there() -> None:
    """Leave folders of a versioned bucket in which everything is deleted out of listings; moto lists them."""
    from types import SimpleNamespace

    from moto.s3.models import FakeDeleteMarker, S3Backend

    original = S3Backend.list_objects

    def list_objects(self: Any, bucket: Any, *arguments: Any, **named: Any) -> Any:
        if hasattr(bucket, "keys") and bucket.is_versioned:
            bucket = SimpleNamespace(keys={name: key for name, key in bucket.keys.items() if not isinstance(key, FakeDeleteMarker)})
        return original(self, bucket, *arguments, **named)

    S3Backend.list_objects = list_objects


class _Borrowed:
    """The body of an object, lent to a copy of the object, which must not close it."""

    def __init__(self, body: Any) -> None:
        self._body = body

    def __getattr__(self, name: str) -> Any:
        return getattr(self._body, name)

    def close(self) -> None:
        """Do nothing: the original object closes its body."""


def _list_without_bodies() -> None:
    """List versions without copying bodies: for each page moto deep-copies every object of the bucket, gigabytes of checkpoints."""
    from moto.s3.models import FakeKey

    def light(self: Any, _memo: Any) -> Any:
        copied = object.__new__(type(self))
        copied.__dict__.update(self.__dict__, _value_buffer=_Borrowed(self._value_buffer), disposed=True)
        return copied

    FakeKey.__deepcopy__ = light


ENCODED = {"Key", "Prefix", "Delimiter", "KeyMarker", "NextKeyMarker"}
"""Members that `encoding-type=url` encodes. https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListObjectVersions.html"""


def _encode_keys() -> None:
    """Percent-encode keys in two listings in which moto does not: its answer is no valid XML when a key holds a control character."""
    from moto.core.responses import ActionResult
    from moto.s3.responses import S3Response

    def encoding(name: str) -> None:
        original = getattr(S3Response, name)

        def listing(self: Any) -> Any:
            serialized = self.serialized
            if self.querystring.get("encoding-type", [""])[0] == "url":
                self.serialized = lambda answer: serialized(ActionResult({**_encoded(answer.result), "EncodingType": "url"}))
            try:
                return original(self)
            finally:
                vars(self).pop("serialized", None)

        setattr(S3Response, name, listing)

    encoding("list_object_versions")
    encoding("list_multipart_uploads")


def _encoded(value: Any, name: str = "") -> Any:
    if isinstance(value, dict):
        return {key: _encoded(item, key) for key, item in value.items()}
    if isinstance(value, list):
        return [_encoded(item, name) for item in value]
    return quote_plus(value, safe="/") if name in ENCODED and isinstance(value, str) else value


def _keep_tags() -> None:
    import xmltodict
    from moto.s3.responses import S3Response

    original = S3Response._bucket_response_put

    def put(self: Any, request: Any, bucket_name: str, querystring: dict[str, Any]) -> Any:
        existed = bucket_name in self.backend.buckets
        result = original(self, request, bucket_name, querystring)
        if self.body and not querystring and not existed:
            configuration = xmltodict.parse(self.body, force_list=("Tag",)).get("CreateBucketConfiguration") or {}
            tags = (configuration.get("Tags") or {}).get("Tag", [])
            if tags:
                self.backend.put_bucket_tagging(bucket_name, {item["Key"]: item.get("Value") or "" for item in tags})
        return result

    S3Response._bucket_response_put = put


def _evaluate_transport() -> None:
    """Evaluate `aws:SecureTransport`, the only condition of lab bucket policies. Any other is refused, lest it seem checked."""
    from moto.iam.access_control import IAMPolicy, PermissionResult
    from moto.s3.models import FakeBucket
    from moto.s3.responses import S3Response

    set_up = S3Response.setup_class

    def remember_transport(self: Any, *args: Any, **kwargs: Any) -> None:
        set_up(self, *args, **kwargs)
        _secure.set(self.parsed_url.scheme == "https")

    def permission(self: Any, action: str, resource: str) -> Any:
        if self.policy is None:
            return PermissionResult.NEUTRAL
        policy = json.loads(self.policy)
        statements = policy["Statement"] if isinstance(policy["Statement"], list) else [policy["Statement"]]
        holding = [
            {key: value for key, value in statement.items() if key != "Condition"}
            for statement in statements
            if _holds(statement.get("Condition", {}), secure=_secure.get())
        ]
        if not holding:
            return PermissionResult.NEUTRAL
        return IAMPolicy(json.dumps({**policy, "Statement": holding})).is_action_permitted(action, resource)

    S3Response.setup_class = remember_transport
    FakeBucket.get_permission = permission


def _holds(condition: dict[str, Any], *, secure: bool) -> bool:
    rest = {operator: dict(block) for operator, block in condition.items()}
    wanted = rest.get("Bool", {}).pop("aws:SecureTransport", None)
    if any(rest.values()):
        raise fail("NotImplemented", f"the sandbox does not evaluate the condition {condition}")
    return wanted is None or str(secure).lower() in (
        [str(accepted).lower() for accepted in wanted] if isinstance(wanted, list) else [str(wanted).lower()]
    )
