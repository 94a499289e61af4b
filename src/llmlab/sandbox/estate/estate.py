"""All services around the machines of one sandbox, opened in order and closed in reverse; and the cleaning up after killed sandboxes."""

import os
import subprocess
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llmlab.clock import Clock
from llmlab.sandbox.estate import namespace as network, requirements, services
from llmlab.sandbox.estate.authority import Authority
from llmlab.sandbox.estate.engine import Engine
from llmlab.sandbox.estate.images import Images
from llmlab.sandbox.estate.namespace import Namespace
from llmlab.sandbox.estate.services import Serving
from llmlab.sandbox.estate.shelf import Shelf

Say = Callable[[str], None]
PREFIX = "llmlab-sandbox-"
LABEL = "llmlab.sandbox"


@dataclass(frozen=True)
class Owner:
    """A process, identified by its pid and its start time (in clock ticks since boot), because pids are reused."""

    pid: int
    started: int

    @classmethod
    def of(cls, pid: int) -> "Owner | None":
        """The owner for a pid; None when there is no such process.

        https://man7.org/linux/man-pages/man5/proc_pid_stat.5.html, field 22
        """
        try:
            fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
        except OSError:
            return None
        return cls(pid, int(fields[19]))

    @classmethod
    def parse(cls, text: str) -> "Owner | None":
        pid, _, started = text.partition("-")
        return cls(int(pid), int(started)) if pid.isdigit() and started.isdigit() else None

    def __str__(self) -> str:
        return f"{self.pid}-{self.started}"

    @property
    def alive(self) -> bool:
        return Owner.of(self.pid) == self


class Estate:
    """The services of one sandbox. `folder` is the running sandbox's; the cache folder keeps images and the authority for the next one."""

    def __init__(self, folder: Path, clock: Clock, environment: Mapping[str, str] = os.environ) -> None:
        owner = Owner.of(os.getpid())
        assert owner is not None
        self.owner, self.folder, self.clock = owner, folder, clock
        cache = cache_folder(environment)
        self.engine = Engine(folder / "engine", cache / "engine", clock)
        self.authority = Authority(cache / "authority")
        self.shelf = Shelf(folder / "registry", cache / "registry", self.engine, clock)
        self.namespace = Namespace(f"{PREFIX}{owner}")
        self.host_image = ""
        self.handler: type = object
        self._api: Serving | None = None
        self._resolver: subprocess.Popen[bytes] | None = None
        self._removals: list[threading.Thread] = []

    def open(self, application: Any, handler: type, password: str, say: Say) -> None:
        """Start all services; the first time this builds two images. Call it from the main thread: the services end with it.

        Raises:
            LabError: something is missing or failed; the services started so far are closed again.
        """
        requirements.check()
        (self.folder / "engine").mkdir(parents=True, exist_ok=True, mode=0o700)
        try:
            self.engine.start(say)
            clean(self.engine)
            self.authority.make(self.clock.now())
            images = Images(self.engine, self.authority.certificate, say)
            self.host_image = images.host()
            self.shelf.fill(images.of_lab(), say)
            self.namespace.create()
            self.shelf.open(self.namespace, self.authority, password)
            self.handler = handler
            self._api = services.api(application, handler, self.namespace, self.authority)
            with (self.folder / "resolver.log").open("wb") as log:
                command = services.resolver_command(self.namespace)
                self._resolver = subprocess.Popen(command, env=self.engine.environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        except BaseException:
            self.close()
            raise

    def metadata(self, application: Any, device: str, hops: int) -> Serving:
        return services.metadata(application, self.handler, self.namespace, device, hops)

    def remove(self, container: str) -> None:
        """Remove an ended container and its disk in the background, since gigabytes take a while; `close` waits for it."""
        words = ("rm", "--force", "--volumes", container)
        removal = threading.Thread(target=self.engine.attempt, args=words, name=f"remove-{container}", daemon=True)
        self._removals.append(removal)
        removal.start()

    def close(self) -> None:
        """Stop all services. The machines' hosts end their own containers before."""
        for removal in self._removals:
            removal.join()
        if self._api is not None:
            self._api.close()
        if self._resolver is not None:
            self._resolver.terminate()
            self._resolver.wait()
        self.shelf.close()
        self.namespace.delete()
        self.engine.stop()


def clean(engine: Engine | None = None) -> int:
    """Remove namespaces and containers of killed sandboxes; returns how many. Without an engine, only namespaces are removed."""
    dead = [name for name in network.named(PREFIX) if _abandoned(name.removeprefix(PREFIX))]
    for name in dead:
        Namespace(name).delete()
    containers = []
    if engine is not None:
        listed = engine.run("ps", "--all", "--filter", f"label={LABEL}", "--format", '{{.ID}} {{.Label "' + LABEL + '"}}')
        containers = [identity for identity, _, owner in (line.partition(" ") for line in listed.splitlines()) if _abandoned(owner)]
        for identity in containers:
            engine.attempt("rm", "--force", "--volumes", identity)
    return len(dead) + len(containers)


def sweep(clock: Clock) -> int:
    """Call `clean` with this computer's engine, if one answers; do nothing where Docker mode is impossible."""
    if not requirements.possible():
        return 0
    engine = Engine(cache_folder(), cache_folder(), clock)
    return clean(engine if engine.answers() else None)


def _abandoned(owner: str) -> bool:
    process = Owner.parse(owner)
    return process is None or not process.alive


def cache_folder(environment: Mapping[str, str] = os.environ) -> Path:
    """The folder that Docker mode keeps between runs, `$XDG_CACHE_HOME/llmlab/sandbox`; it may be removed while no sandbox runs."""
    home = environment.get("XDG_CACHE_HOME") or Path(environment.get("HOME") or Path.home()) / ".cache"
    return Path(home) / "llmlab" / "sandbox"
