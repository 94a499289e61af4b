"""Training images in ECR: which digest a tag stands for, so that a run records the very image that it ran."""

import json
import urllib.request
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from llmlab.aws.session import Aws, AwsError, NotFound
from llmlab.contract import IMAGE_LABEL
from llmlab.errors import LabError

READ_SECONDS = 20
ARCHITECTURE = "amd64"
"""The processor architecture of every instance type that the lab asks for."""


@dataclass(frozen=True)
class Image:
    """One image. `reference` is `registry/repository@sha256:…`, `size` in bytes, compressed; `agent` that of the agent's own beside it."""

    reference: str
    tags: tuple[str, ...]
    pushed: datetime
    size: int
    agent: str = ""


@dataclass(frozen=True)
class Described:
    """An image's configuration: its architecture and its contract label, "" when it has none."""

    architecture: str
    contract: str


def described(aws: Aws, image: Image) -> Described | None:
    """An image's configuration, read without pulling the image; None where it cannot be read, as for an index of several images.

    https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_GetDownloadUrlForLayer.html
    """
    ecr: Any = aws.client("ecr")
    repository, digest = aws.names.repository, image.reference.partition("@")[2]
    try:
        images = ecr.batch_get_image(repositoryName=repository, imageIds=[{"imageDigest": digest}])["images"]
        wanted = json.loads(images[0]["imageManifest"])["config"]["digest"]
        address = ecr.get_download_url_for_layer(repositoryName=repository, layerDigest=wanted)["downloadUrl"]
        with urllib.request.urlopen(address, timeout=READ_SECONDS) as answer:  # noqa: S310 - it is AWS's own
            config = json.loads(answer.read())
        return Described(str(config["architecture"]), str((config["config"].get("Labels") or {}).get(IMAGE_LABEL, "")))
    except (AwsError, OSError, ValueError, LookupError):
        return None


def find(aws: Aws, tag: str = "", repository: str = "") -> Image | None:
    """The image of a tag, or the newest tagged one; None when there is none. `repository`: another one than the training image's.

    Raises:
        NotFound: the lab has no repository.
    """
    ecr, repository = aws.client("ecr"), repository or aws.names.repository
    try:
        if tag:
            details = ecr.describe_images(repositoryName=repository, imageIds=[{"imageTag": tag}])["imageDetails"]
        else:
            pages = ecr.get_paginator("describe_images").paginate(repositoryName=repository, filter={"tagStatus": "TAGGED"})
            details = [image for page in pages for image in page["imageDetails"]]
    except NotFound as error:
        if error.code == "ImageNotFoundException":
            return None
        raise
    if not details:
        return None
    image = max(details, key=lambda detail: detail["imagePushedAt"])
    return Image(
        reference=f"{aws.names.registry}/{repository}@{image['imageDigest']}",
        tags=tuple(sorted(image.get("imageTags", []))),
        pushed=image["imagePushedAt"],
        size=int(image.get("imageSizeInBytes", 0)),
    )


def choose(aws: Aws, tag: str = "") -> Image:
    """As `find`, but an image must exist; with the agent's image that was pushed with it.

    Raises:
        LabError: there is none; the hint is the command that pushes one.
    """
    image = find(aws, tag)
    if image is None:
        which = f"no training image tagged {tag}" if tag else "no training image"
        raise LabError(f"there is {which} in {aws.names.repository}", "llmlab image push")
    return replace(image, agent=_agent(aws, image))


def _agent(aws: Aws, image: Image) -> str:
    """The agent's image with a tag of this training image, the commit's before `latest`; "" where the lab or the push is older than it."""
    tags = [tag for tag in image.tags if tag != "latest"] or list(image.tags)
    for tag in tags:
        try:
            agent = find(aws, tag, aws.names.agent_repository)
        except NotFound:
            return ""
        if agent is not None:
            return agent.reference
    return ""
