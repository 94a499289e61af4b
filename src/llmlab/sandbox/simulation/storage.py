"""S3 in memory, as much of it as the lab's programs ask for: a versioned bucket with conditional writes and listings in pages."""

import io
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from llmlab.sandbox.simulation.failure import failure

PAGE = 1000
NONE: Mapping[str, str] = MappingProxyType({})


class Storage:
    """Every object of every bucket, newest version last. A deletion is a version without a body."""

    def __init__(self) -> None:
        self._objects: dict[tuple[str, str], list[bytes | None]] = {}
        self._metadata: dict[tuple[str, str], Mapping[str, str]] = {}
        """Of the newest version of each."""

    def body(self, bucket: str, key: str, version: str = "") -> bytes | None:
        """An object as it is, or as one version of it was."""
        versions = self._objects.get((bucket, key))
        if not versions:
            return None
        return versions[int(version) - 1] if version else versions[-1]

    def keys(self, bucket: str, prefix: str = "") -> list[str]:
        """In the order of S3, which is that of their bytes."""
        found = [
            key
            for (place, key), versions in self._objects.items()
            if place == bucket and key.startswith(prefix) and versions[-1] is not None
        ]
        return sorted(found)

    # ------------------------------------------------------------ as boto3 has it

    def put_object(
        self, *, Bucket: str, Key: str, Body: Any = b"", IfNoneMatch: str = "", Metadata: Mapping[str, str] = NONE, **_: Any  # noqa: N803 - boto3's
    ) -> dict[str, Any]:  # fmt: skip
        if IfNoneMatch and self.body(Bucket, Key) is not None:
            raise failure("PreconditionFailed", "At least one of the pre-conditions you specified did not hold", "PutObject", 412)
        body = Body if isinstance(Body, bytes) else Body.encode() if isinstance(Body, str) else Body.read()
        versions = self._objects.setdefault((Bucket, Key), [])
        versions.append(body)
        self._metadata[Bucket, Key] = Metadata
        return {"VersionId": str(len(versions))}

    def get_object(self, *, Bucket: str, Key: str, VersionId: str = "", **_: Any) -> dict[str, Any]:  # noqa: N803 - boto3's
        body = self.body(Bucket, Key, VersionId)
        if body is None:
            raise failure("NoSuchKey", "The specified key does not exist.", "GetObject", 404)
        return {"Body": io.BytesIO(body), "ContentLength": len(body)}

    def head_object(self, *, Bucket: str, Key: str, VersionId: str = "", **_: Any) -> dict[str, Any]:  # noqa: N803 - boto3's
        body = self.body(Bucket, Key, VersionId)
        if body is None:
            raise failure("404", "Not Found", "HeadObject", 404)
        return {"ContentLength": len(body), "Metadata": dict(self._metadata[Bucket, Key])}

    def delete_object(self, *, Bucket: str, Key: str, **_: Any) -> dict[str, Any]:  # noqa: N803 - boto3's
        self._delete(Bucket, Key)
        return {}

    def delete_objects(self, *, Bucket: str, Delete: Mapping[str, Any], **_: Any) -> dict[str, Any]:  # noqa: N803 - boto3's
        for item in Delete["Objects"]:
            self._delete(Bucket, item["Key"])
        return {}

    def list_objects_v2(
        self, *, Bucket: str, Prefix: str = "", Delimiter: str = "", StartAfter: str = "",  # noqa: N803 - boto3's
        ContinuationToken: str = "", MaxKeys: int = PAGE, **_: Any,  # noqa: N803 - boto3's
    ) -> dict[str, Any]:  # fmt: skip
        keys = [key for key in self.keys(Bucket, Prefix) if key > StartAfter]
        names: dict[str, bool] = {}
        for key in keys:
            head, mark, _rest = key[len(Prefix) :].partition(Delimiter) if Delimiter else (key, "", "")
            names[f"{Prefix}{head}{mark}" if mark else key] = bool(mark)
        page = [name for name in names if name > ContinuationToken][:MaxKeys]
        answer: dict[str, Any] = {
            "Contents": [{"Key": name, "Size": len(self.body(Bucket, name) or b"")} for name in page if not names[name]],
            "CommonPrefixes": [{"Prefix": name} for name in page if names[name]],
        }
        if page and page[-1] != list(names)[-1]:
            answer["NextContinuationToken"] = page[-1]
        return answer

    def _delete(self, bucket: str, key: str) -> None:
        versions = self._objects.get((bucket, key))
        if versions and versions[-1] is not None:
            versions.append(None)
