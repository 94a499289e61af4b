"""S3 in memory, as far as the lab's programs use it: versioned buckets with conditional writes and paged listings."""

import io
from collections import Counter
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from tests.simulation.failure import failure

PAGE = 1000
NONE: Mapping[str, str] = MappingProxyType({})


class Storage:
    """The objects of every bucket, newest version last. A deletion is a version without a body."""

    def __init__(self) -> None:
        self._objects: dict[tuple[str, str], list[tuple[str, bytes | None]]] = {}
        """(bucket, key) → versions as (version id, body)."""
        self._written: Counter[tuple[str, str]] = Counter()
        self._metadata: dict[tuple[str, str], Mapping[str, str]] = {}
        """User metadata of the newest version of each object."""

    def body(self, bucket: str, key: str, version: str = "") -> bytes | None:
        """The body of an object's newest version or of the given one; None if there is none, or it is a deletion."""
        versions = self._objects.get((bucket, key))
        if not versions:
            return None
        return next((body for identity, body in versions if identity == version), None) if version else versions[-1][1]

    def keys(self, bucket: str, prefix: str = "") -> list[str]:
        """The keys of a bucket with a prefix, sorted as S3 sorts them."""
        keys = [
            key
            for (place, key), versions in self._objects.items()
            if place == bucket and key.startswith(prefix) and versions[-1][1] is not None
        ]
        return sorted(keys)

    # ------------------------------------------------------------ as boto3 has it

    def put_object(
        self, *, Bucket: str, Key: str, Body: Any = b"", IfNoneMatch: str = "", Metadata: Mapping[str, str] = NONE, **_: Any  # noqa: N803 - boto3's
    ) -> dict[str, Any]:  # fmt: skip
        if IfNoneMatch and self.body(Bucket, Key) is not None:
            raise failure("PreconditionFailed", "At least one of the pre-conditions you specified did not hold", "PutObject", 412)
        body = Body if isinstance(Body, bytes) else Body.encode() if isinstance(Body, str) else Body.read()
        self._metadata[Bucket, Key] = Metadata
        return {"VersionId": self._add(Bucket, Key, body)}

    def _add(self, bucket: str, key: str, body: bytes | None) -> str:
        self._written[bucket, key] += 1
        version = str(self._written[bucket, key])
        self._objects.setdefault((bucket, key), []).append((version, body))
        return version

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

    def delete_object(self, *, Bucket: str, Key: str, VersionId: str = "", **_: Any) -> dict[str, Any]:  # noqa: N803 - boto3's
        self._delete(Bucket, Key, VersionId)
        return {}

    def delete_objects(self, *, Bucket: str, Delete: Mapping[str, Any], **_: Any) -> dict[str, Any]:  # noqa: N803 - boto3's
        for item in Delete["Objects"]:
            self._delete(Bucket, item["Key"], item.get("VersionId", ""))
        return {}

    def list_object_versions(
        self, *, Bucket: str, Prefix: str = "", KeyMarker: str = "", VersionIdMarker: str = "", MaxKeys: int = PAGE, **_: Any,  # noqa: N803
    ) -> dict[str, Any]:  # fmt: skip
        """The versions of all keys in order, for each key the newest first."""
        every = [
            (key, version, body)
            for place, key in sorted(self._objects)
            if place == Bucket and key.startswith(Prefix)
            for version, body in reversed(self._objects[place, key])
        ]
        after = [entry for entry in every if (entry[0], -int(entry[1])) > (KeyMarker, -int(VersionIdMarker or 0))] if KeyMarker else every
        page = after[:MaxKeys]
        answer: dict[str, Any] = {
            "Versions": [{"Key": key, "VersionId": version, "Size": len(body)} for key, version, body in page if body is not None],
            "DeleteMarkers": [{"Key": key, "VersionId": version} for key, version, body in page if body is None],
        }
        if len(after) > len(page):
            answer |= {"NextKeyMarker": page[-1][0], "NextVersionIdMarker": page[-1][1]}
        return answer

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

    def _delete(self, bucket: str, key: str, version: str) -> None:
        """Delete a version for good; without a version id, add a delete marker."""
        versions = self._objects.get((bucket, key))
        if not versions:
            return
        if not version:
            if versions[-1][1] is not None:
                self._add(bucket, key, None)
            return
        versions[:] = [entry for entry in versions if entry[0] != version]
        if not versions:
            del self._objects[bucket, key]
