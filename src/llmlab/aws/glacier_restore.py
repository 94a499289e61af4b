"""Restoring objects that lifecycle rules have moved to an archive storage class, and how long that takes.

Times and storage classes: Amazon S3 user guide, "Archive retrieval options" (Standard tier).
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from llmlab.aws.objects import Object
from llmlab.aws.session import Aws, AwsError

HOURS = {"GLACIER": "3 to 5 hours", "DEEP_ARCHIVE": "up to 12 hours"}
"""How long the standard retrieval takes. GLACIER_IR can be read at once."""
KEPT_DAYS = 7


@dataclass(frozen=True)
class ArchiveRestore:
    """Archived objects that are on their way back, and how long it takes."""

    storage: str
    takes: str
    keys: tuple[str, ...]
    size: int


def ask_back(aws: Aws, bucket: str, items: Iterable[Object]) -> tuple[ArchiveRestore, ...]:
    """Start a restore of every archived object that cannot be read yet.

    Returns:
        The restores under way, one a storage class.
    """
    waiting: dict[str, list[Object]] = {}
    for item in items:
        if item.storage in HOURS and not _readable(aws, bucket, item):
            waiting.setdefault(item.storage, []).append(item)
    return tuple(
        ArchiveRestore(storage, HOURS[storage], tuple(item.key for item in archived), sum(item.size for item in archived))
        for storage, archived in waiting.items()
    )


def _readable(aws: Aws, bucket: str, item: Object) -> bool:
    restore = aws.s3.head_object(Bucket=bucket, Key=item.key).get("Restore", "")
    if re.search(r'ongoing-request="false"', restore):
        return True
    if not restore:
        try:
            aws.s3.restore_object(
                Bucket=bucket, Key=item.key, RestoreRequest={"Days": KEPT_DAYS, "GlacierJobParameters": {"Tier": "Standard"}}
            )
        except AwsError as error:
            if error.code != "RestoreAlreadyInProgress":
                raise
    return False
