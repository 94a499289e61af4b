"""Images made by hand for the registry of a sandbox in Docker mode, for what nobody would build: an image is a few JSON files and archives.

https://distribution.github.io/distribution/spec/manifest-v2-2/ and https://github.com/moby/docker-image-spec
"""

import gzip
import hashlib
import io
import json
import tarfile
from pathlib import Path
from typing import Any

from llmlab.sandbox.estate.shelf import STORAGE
from llmlab.sandbox.registry import MEDIA_TYPE

CONFIG = "application/vnd.docker.container.image.v1+json"
LAYER = "application/vnd.docker.image.rootfs.diff.tar.gzip"


class Shelved:
    """The images of one repository, as docker-registry keeps them below `folder`."""

    def __init__(self, folder: Path, repository: str, ecr: Any) -> None:
        self.blobs = folder / STORAGE / "blobs/sha256"
        self.repository = folder / STORAGE / "repositories" / repository
        self.name, self.ecr = repository, ecr

    def read(self, digest: str) -> Any:
        """A manifest or a configuration."""
        _, _, number = digest.partition(":")
        return json.loads((self.blobs / number[:2] / number / "data").read_bytes())

    def latest(self) -> tuple[Any, Any]:
        """The manifest and the configuration of the training image that is there from the start."""
        manifest = self.read((self.repository / "_manifests/tags/latest/current/link").read_text(encoding="ascii"))
        return manifest, self.read(manifest["config"]["digest"])

    def changed(self, tag: str, **changes: Any) -> str:
        """The training image with other settings and the same layers."""
        manifest, config = self.latest()
        config["config"] = {**config["config"], **changes}
        return self._put(tag, config, manifest["layers"])

    def small(self, tag: str, *, architecture: str = "amd64", labels: dict[str, str]) -> str:
        """An image with one file, which is no program, and is called as the tag, so that no two images are the same."""
        stream = io.BytesIO()
        with tarfile.open(fileobj=stream, mode="w") as archive:
            archive.addfile(tarfile.TarInfo(tag))
        layer = gzip.compress(stream.getvalue(), mtime=0)
        differs = f"sha256:{hashlib.sha256(stream.getvalue()).hexdigest()}"
        config = {
            "architecture": architecture, "os": "linux", "config": {"Labels": labels}, "rootfs": {"type": "layers", "diff_ids": [differs]},
        }  # fmt: skip
        return self._put(tag, config, [{"mediaType": LAYER, "size": len(layer), "digest": self._blob(layer, "_layers")}])

    def forget(self, digest: str) -> None:
        """As the repository's lifecycle policy does it between a launch and a boot: the registry alone, so that launch still finds it."""
        (self.repository / "_manifests/revisions/sha256" / digest.partition(":")[2] / "link").unlink()

    def _put(self, tag: str, config: Any, layers: list[Any]) -> str:
        """Into the registry. ECR is told without the configuration: a launch that could read it would refuse before any machine does."""
        text = json.dumps(config).encode()
        described = {"mediaType": CONFIG, "size": len(text), "digest": self._blob(text, "_layers")}
        manifest = json.dumps({"schemaVersion": 2, "mediaType": MEDIA_TYPE, "config": described, "layers": layers})
        digest = self._blob(manifest.encode(), "_manifests/revisions")
        unread = json.dumps({"schemaVersion": 2, "mediaType": MEDIA_TYPE, "tag": tag, "layers": []})
        self.ecr.put_image(repositoryName=self.name, imageManifest=unread, imageDigest=digest, imageTag=tag)
        return digest

    def _blob(self, data: bytes, links: str) -> str:
        """Write content, and that this repository has it; returns its digest."""
        number = hashlib.sha256(data).hexdigest()
        for path, content in (
            (self.blobs / number[:2] / number / "data", data),
            (self.repository / links / "sha256" / number / "link", f"sha256:{number}".encode()),
        ):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        return f"sha256:{number}"
