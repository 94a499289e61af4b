"""Botocore's service models, read once a process: each session reads them anew, which takes a second of CPU, and each command has one."""

from typing import Any

import botocore.loaders
import botocore.session

SERVICES = (
    "budgets", "ce", "cloudwatch", "ec2", "ecr", "events", "iam", "lambda", "logs", "s3", "scheduler", "secretsmanager", "service-quotas",
    "sns", "ssm", "sts",
)  # fmt: skip
"""Those that nearly every command asks."""


class Cache(dict[Any, Any]):
    """What loaders have read. S3's model is each session's own, because S3's clients take the bucket out of the addresses in it."""

    def __setitem__(self, key: Any, value: Any) -> None:
        _, *words = key
        if not any(str(word).partition("/")[0] == "s3" for word in words):
            super().__setitem__(key, value)


READ: dict[str, Cache] = {}
"""By the folders that a loader was told to look in besides its own."""


def share() -> None:
    """Let every later session of this process read from one cache; its own list of folders stays its own."""

    def create_loader(search_path_string: str | None = None) -> botocore.loaders.Loader:
        loader = botocore.loaders.create_loader(search_path_string)
        loader._cache = READ.setdefault(search_path_string or "", Cache())  # type: ignore[attr-defined]
        return loader

    botocore.session.create_loader = create_loader


def read(region: str) -> None:
    """Read those of `SERVICES` now, for the forks of this process."""
    session = botocore.session.Session()
    for service in SERVICES:
        session.create_client(service, region_name=region)
