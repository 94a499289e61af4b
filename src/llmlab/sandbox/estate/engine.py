"""The Docker engine that machines run in: this computer's, or one that the sandbox starts for as long as it runs.

The sandbox's own engine keeps its images in the cache folder and touches no network: no bridge, no iptables, no forwarding.
"""

import fcntl
import logging
import os
import signal
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

from llmlab.clock import Clock, wait_until
from llmlab.errors import LabError
from llmlab.sandbox.estate.requirements import SYSTEM_PATH

LOG = logging.getLogger(__name__)
START_SECONDS = 30
STOP_SECONDS = 30
Say = Callable[[str], None]


class Engine:
    """The `docker` command connected to the right engine. `folder` is the running sandbox's, `cache` outlives it."""

    def __init__(self, folder: Path, cache: Path, clock: Clock) -> None:
        self.folder, self.cache, self.clock = folder, cache, clock
        self.environment = {**os.environ, "PATH": os.pathsep.join([os.environ.get("PATH", os.defpath), SYSTEM_PATH])}
        self._process: subprocess.Popen[bytes] | None = None
        self._lock: int | None = None

    def start(self, say: Say) -> None:
        """Find a running engine, or start one. Call it from the main thread: the engine ends with the thread that started it.

        Raises:
            LabError: the engine does not come up, or another sandbox uses it.
        """
        if self.answers():
            return
        self.cache.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._lock = os.open(self.cache / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise LabError("another sandbox has its machines in this computer's Docker engine", "llmlab sandbox stop") from None
        say("a Docker engine is started")
        socket, log = self.folder / "docker.sock", self.folder / "dockerd.log"
        self.environment["DOCKER_HOST"] = f"unix://{socket}"
        command = ["setpriv", "--pdeathsig", "TERM", "dockerd", "--data-root", str(self.cache / "data"), "--exec-root"]
        command += [str(self.folder / "exec"), "--host", f"unix://{socket}", "--pidfile", str(self.folder / "docker.pid")]
        command += ["--iptables=false", "--ip-forward=false", "--bridge=none"]
        with log.open("wb") as stream:
            self._process = subprocess.Popen(command, env=self.environment, stdin=subprocess.DEVNULL, stdout=stream, stderr=stream)
        process = self._process
        wait_until(lambda: self.answers() or process.poll() is not None, self.clock, limit_seconds=START_SECONDS, every_seconds=0.1)
        if not self.answers():
            words = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
            self.stop()
            raise LabError(f"the Docker engine did not start: {words[-1] if words else 'it said nothing'}", "dockerd --debug")

    def stop(self) -> None:
        """Stop the engine, if this sandbox started it."""
        process = self._process
        if process is not None and process.poll() is None:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        for place in sorted((self.folder / "exec" / "netns").glob("*")):  # an engine leaves the mounts of its namespaces
            subprocess.run(["umount", str(place)], capture_output=True, check=False)
        if self._lock is not None:
            os.close(self._lock)
        self._process = self._lock = None

    @property
    def own(self) -> bool:
        """Whether this process started the engine, so that it holds only the sandbox's images and containers."""
        return self._process is not None

    def run(self, *arguments: str) -> str:
        """Run `docker ARGUMENTS…`; returns its output.

        Raises:
            LabError: the command failed, with the last line of its errors.
        """
        answer = self.attempt(*arguments)
        if answer.returncode:
            lines = [line for line in answer.stderr.strip().splitlines() if line]
            raise LabError(f"docker {arguments[0]} failed: {lines[-1] if lines else answer.returncode}", "docker info")
        return answer.stdout.strip()

    def attempt(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(["docker", *arguments], env=self.environment, capture_output=True, text=True, errors="replace", check=False)

    def stream(self, command: Sequence[str], *, failed: str, environment: dict[str, str] | None = None) -> None:
        """Run a program that uses this engine, with its output in the log. Raises `LabError` with the last line when it fails."""
        last = ""
        settings = {**self.environment, **(environment or {})}
        with subprocess.Popen(
            command, env=settings, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
        ) as process:
            try:
                for line in process.stdout or ():
                    LOG.info(line.rstrip())
                    last = line.strip() or last
            except BaseException:
                process.kill()
                raise
        if process.returncode:
            raise LabError(f"{failed}: {last or f'it ended with {process.returncode}'}", "docker info")

    def has(self, image: str) -> bool:
        return self.attempt("image", "inspect", image).returncode == 0

    def answers(self) -> bool:
        """Whether a Docker engine answers."""
        try:
            return self.attempt("version", "--format", "{{.Server.Version}}").returncode == 0
        except FileNotFoundError:
            return False
