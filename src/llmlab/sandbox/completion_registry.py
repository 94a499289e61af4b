"""What moto's ECR does not answer: where the parts of an image can be fetched. The sandbox knows the configurations, which are small."""

import base64
from collections.abc import Callable
from typing import Any

from llmlab.sandbox.completion import answer, fail

BLOBS: dict[str, bytes] = {}
"""Digest → content, of the images that this process made."""
SHELVES: list[Callable[[str], bytes | None]] = []
"""When set, called with a digest: what a real registry has by it."""


def install() -> None:
    """Answer GetDownloadUrlForLayer, with an address that is the content itself (RFC 2397) instead of one of S3."""
    from moto.ecr.responses import ECRResponse

    answer(ECRResponse, "GetDownloadUrlForLayer", _download)


def _download(_: Any, values: dict[str, Any]) -> dict[str, Any]:
    digest = values["layerDigest"]
    content = SHELVES[-1](digest) if SHELVES else BLOBS.get(digest)
    if content is None:
        raise fail("LayersNotFoundException", f"The layer with digest '{digest}' does not exist in the repository")
    return {"downloadUrl": f"data:application/json;base64,{base64.b64encode(content).decode()}", "layerDigest": digest}
