"""The sandbox's image registry: moto's ECR lists the images, and each new repository of a lab holds one image from the start.

Containers run this Python, so the image has no layers; its manifest and digest are real. In Docker mode a real registry holds it.
"""

import hashlib
import json
import time
from collections.abc import Callable
from typing import Any

from llmlab import __version__
from llmlab.contract import IMAGE_LABEL, VERSION, Names
from llmlab.sandbox.completion import LOCK, answer
from llmlab.sandbox.completion_registry import BLOBS

ENDS = tuple(repository.removeprefix("x") for repository in Names("x", "", "").repositories)
"""Suffixes of a lab's repository names."""
MEDIA_TYPE = "application/vnd.docker.distribution.manifest.v2+json"
SHELVES: list[Callable[[str], str]] = []
"""When set, called with a repository's name: puts an image into it for real, and returns its manifest."""
STANDING: list[object] = []
"""The sandboxes of this process: while there is none, a new repository stays empty, as moto creates it."""


def install() -> None:
    """Patch CreateRepository to push an image into a lab's new repository."""
    from moto.ecr.responses import ECRResponse

    original = ECRResponse.create_repository

    def create(self: Any, values: dict[str, Any]) -> Any:
        result = original(self)
        if STANDING and values["repositoryName"].endswith(ENDS):
            push(self.ecr_backend, values["repositoryName"])
        return result

    answer(ECRResponse, "CreateRepository", create)


def push(backend: Any, repository: str, tag: str = "latest") -> str:
    """Push an image that runs this version of llmlab; returns its digest."""
    text = SHELVES[-1](repository) if SHELVES else _manifest()
    image = backend.put_image(repository, text, tag, MEDIA_TYPE, f"sha256:{hashlib.sha256(text.encode()).hexdigest()}")
    return str(image.get_image_digest())


def _manifest() -> str:
    """The manifest of an image without layers."""
    labels = {"llmlab.version": __version__, IMAGE_LABEL: str(VERSION)}
    created = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    config = json.dumps({"created": created, "architecture": "amd64", "config": {"Labels": labels}}).encode()
    digest = f"sha256:{hashlib.sha256(config).hexdigest()}"
    BLOBS[digest] = config
    manifest = {
        "schemaVersion": 2,
        "mediaType": MEDIA_TYPE,
        "config": {"mediaType": "application/vnd.docker.container.image.v1+json", "size": len(config), "digest": digest},
        "layers": [],
    }
    return json.dumps(manifest)


def find(reference: str, region: str, account: str) -> str | None:
    """The digest of `registry/repository@sha256:…` or `registry/repository:tag`, or None when the registry has no such image."""
    from moto.ecr.models import ecr_backends

    _, _, path = reference.partition("/")
    name, at, digest = path.partition("@")
    if not at:
        name, _, tag = path.partition(":")
    with LOCK:
        repository = ecr_backends[account][region].repositories.get(name)
        for image in repository.images if repository else []:
            if at and image.get_image_digest() == digest:
                return digest
            if not at and (tag or "latest") in image.image_tags:
                return str(image.get_image_digest())
    return None
