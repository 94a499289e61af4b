"""Deleting versions of S3 objects permanently, also of keys with characters that XML cannot hold."""

import re
from collections.abc import Iterable
from typing import Any

MOST_DELETED = 1000
"""Objects that one DeleteObjects takes. https://docs.aws.amazon.com/AmazonS3/latest/API/API_DeleteObjects.html"""
NOT_IN_XML = re.compile("[^\\t\\n\\r\\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""Characters that a key may hold and XML 1.0 may not. DeleteObjects, whose request is XML, takes no key with one of them (MalformedXML),
and a listing shows it only where it is asked for keys as they stand in an address, which boto3 does.
https://docs.aws.amazon.com/AmazonS3/latest/userguide/object-keys.html, https://www.w3.org/TR/xml/#charsets"""
Version = tuple[str, str]
"""A key, and the id of one version of it or of a delete marker."""


def versions_of(page: dict[str, Any]) -> list[Version]:
    """The versions and delete markers in a page of ListObjectVersions."""
    return [(str(entry["Key"]), str(entry["VersionId"])) for entry in [*page.get("Versions", []), *page.get("DeleteMarkers", [])]]


def delete_versions(client: Any, bucket: str, versions: Iterable[Version]) -> list[str]:
    """Delete versions permanently; returns those that S3 refused, as key and S3's message: S3 reports them inside a 200.

    `client` is boto3's S3 client. A version that is gone already counts as deleted.

    Raises:
        Exception: the client's own: S3 refused a call as a whole.
    """
    versions = list(versions)
    refused: list[str] = []
    together = [version for version in versions if not NOT_IN_XML.search(version[0])]
    for start in range(0, len(together), MOST_DELETED):
        objects = [{"Key": key, "VersionId": version} for key, version in together[start : start + MOST_DELETED]]
        answer = client.delete_objects(Bucket=bucket, Delete={"Objects": objects, "Quiet": True})
        refused += [f"{error.get('Key')}: {error.get('Message') or error.get('Code')}" for error in answer.get("Errors", [])]
    for key, version in versions:
        if NOT_IN_XML.search(key):  # in the address of a request of its own it is escaped
            client.delete_object(Bucket=bucket, Key=key, VersionId=version)
    return refused
