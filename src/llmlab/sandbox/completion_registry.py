"""ECR: download addresses of image layers, which moto does not answer. The sandbox holds only the configurations, which are small."""

import base64
from collections.abc import Callable
from typing import Any

from llmlab.sandbox.completion import answer, fail

BLOBS: dict[str, bytes] = {}
"""Digest → content of the image configurations that this process pushed."""
SHELVES: list[Callable[[str], bytes | None]] = []
"""When set, called with a digest: the content that a real registry has for it."""


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
