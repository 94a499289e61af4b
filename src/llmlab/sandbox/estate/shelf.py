"""The registry that stands for ECR: `docker-registry` with ECR's login, and an image in every repository of a lab from the start.

The images are pushed once and kept in the cache folder; a sandbox's registry links to those layers and has repositories of its own.
"""

import hashlib
import json
import shutil
import socket
import subprocess
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from llmlab.clock import Clock, wait_until
from llmlab.contract import Names
from llmlab.errors import LabError
from llmlab.sandbox.estate.authority import Authority
from llmlab.sandbox.estate.engine import Engine
from llmlab.sandbox.estate.namespace import REGISTRY, Namespace

Say = Callable[[str], None]
LOOPBACK = "127.0.0.1"
PORT = 45070
"""The same port whenever it is free: docker remembers by the address which layers a registry has."""
USER = "AWS"
STORAGE = Path("docker/registry/v2")
"""The storage folder of docker-registry, below its root; `repositories/NAME` is a folder of links into `blobs`."""
KINDS = tuple(repository.removeprefix("x-") for repository in Names("x", "", "").repositories)
"""Suffixes of a lab's repository names; the cache has one image for each."""
START_SECONDS = 20


class Shelf:
    """The registry of one sandbox, in `folder`; the images in `cache` outlive it."""

    def __init__(self, folder: Path, cache: Path, engine: Engine, clock: Clock) -> None:
        self.folder, self.cache, self.engine, self.clock = folder, cache, engine, clock
        self._process: subprocess.Popen[bytes] | None = None

    def fill(self, references: Sequence[str], say: Say) -> None:
        """Push the training image and the agent's into the cache, unless they are in it already."""
        noted = self.cache / "filled"
        if noted.exists() and noted.read_text(encoding="utf-8").split() == list(references):
            return
        say("the training image and the agent's are pushed to the registry")
        noted.unlink(missing_ok=True)
        self.cache.mkdir(parents=True, exist_ok=True, mode=0o700)
        address = free_address()
        process = self._serve(self.cache, self.folder / "filling.json", {"addr": address}, {}, [])
        pushed = [f"{address}/{kind}:latest" for kind in KINDS]
        try:
            self._wait(process, lambda: _reachable(address))
            for reference, name in zip(references, pushed, strict=True):
                self.engine.run("tag", reference, name)
                self.engine.stream(["docker", "push", "--quiet", name], failed="an image was not pushed")
        finally:
            for name in pushed:
                self.engine.attempt("image", "rm", name)
            process.terminate()
            process.wait()
        clean = ["docker-registry", "garbage-collect", "--delete-untagged", str(self.folder / "filling.json")]  # the last image's layers
        self.engine.stream(clean, failed="the registry was not cleaned")
        noted.write_text("\n".join(references), encoding="utf-8")

    def open(self, namespace: Namespace, authority: Authority, password: str) -> None:
        """Serve the registry on AWS's side of the network, for the user `AWS` and this password."""
        storage = self.folder / STORAGE
        storage.mkdir(parents=True)
        (storage / "blobs").symlink_to(self.cache / STORAGE / "blobs")
        allowed = self.folder / "htpasswd"
        line = subprocess.run(["htpasswd", "-niB", USER], input=password, capture_output=True, text=True, check=True).stdout
        allowed.write_text(line, encoding="utf-8")
        http = {"addr": f"{REGISTRY}:443", "tls": {"certificate": str(authority.services), "key": str(authority.key)}}
        auth = {"htpasswd": {"realm": "ecr", "path": str(allowed)}}
        self._process = self._serve(self.folder, self.folder / "serving.json", http, auth, namespace.entered([]))

    def put(self, repository: str) -> str:
        """Put the cached image of its kind into a repository; returns the image's manifest."""
        target = self.folder / STORAGE / "repositories" / repository
        source = self.cache / STORAGE / "repositories" / next(kind for kind in KINDS if repository.endswith(kind))
        shutil.copytree(source, target, dirs_exist_ok=True)
        digest = (source / "_manifests/tags/latest/current/link").read_text(encoding="ascii").partition(":")[2]
        manifest = (self.cache / STORAGE / "blobs/sha256" / digest[:2] / digest / "data").read_bytes()
        if hashlib.sha256(manifest).hexdigest() != digest:
            raise LabError("the image in the sandbox's registry is damaged", f"rm -r {self.cache}")
        return manifest.decode()

    def read(self, digest: str) -> bytes | None:
        """The blob of a digest, or None."""
        _, _, number = digest.partition(":")
        path = self.folder / STORAGE / "blobs/sha256" / number[:2] / number / "data"
        return path.read_bytes() if path.exists() else None

    def close(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait()
            self._process = None

    def _serve(self, root: Path, config: Path, http: object, auth: object, prefix: list[str]) -> "subprocess.Popen[bytes]":
        """Start `docker-registry`, which ends with this process. Its YAML configuration is written as JSON."""
        settings = {"version": 0.1, "log": {"level": "warn"}, "storage": {"filesystem": {"rootdirectory": str(root)}}, "http": http}
        config.parent.mkdir(parents=True, exist_ok=True)
        config.write_text(json.dumps({**settings, "auth": auth} if auth else settings), encoding="utf-8")
        command = ["setpriv", "--pdeathsig", "KILL", "docker-registry", "serve", str(config)]
        with config.with_suffix(".log").open("wb") as log:
            return subprocess.Popen([*prefix, *command], env=self.engine.environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def _wait(self, process: "subprocess.Popen[bytes]", ready: Callable[[], bool]) -> None:
        wait_until(lambda: ready() or process.poll() is not None, self.clock, limit_seconds=START_SECONDS, every_seconds=0.05)
        if process.poll() is not None or not ready():
            words = (self.folder / "filling.log").read_text(encoding="utf-8", errors="replace").strip().splitlines()
            raise LabError(f"the registry did not start: {words[-1] if words else 'it said nothing'}", "docker-registry --version")


def free_address(wanted: int = PORT) -> str:
    """A loopback address on the wanted port, or on another one when that is taken, by a listener or by one end of any connection."""
    for port in (wanted, 0):
        with socket.socket() as free:
            free.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if port and _reachable(f"{LOOPBACK}:{port}"):
                continue
            with suppress(OSError):
                free.bind((LOOPBACK, port))
                return f"{LOOPBACK}:{free.getsockname()[1]}"
    raise AssertionError("port 0 is always free")


def _reachable(address: str) -> bool:
    host, _, port = address.partition(":")
    with socket.socket() as trying:
        return trying.connect_ex((host, int(port))) == 0
