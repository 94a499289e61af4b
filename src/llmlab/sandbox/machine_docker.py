"""A machine as a container in which systemd runs, with cloud-init and a Docker engine of its own.

cloud-init reads the user data from the metadata service and runs it as root; when the machine switches itself off, the container ends.
It reaches the sandbox only over its network. The downside: root of a machine is root on this computer but for the kernel's resource
limits, so the container keeps mistakes apart, not attackers.
"""

import logging
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from llmlab.sandbox.estate.estate import LABEL, Estate
from llmlab.sandbox.estate.images import BUNDLE
from llmlab.sandbox.estate.namespace import RESOLVER
from llmlab.sandbox.estate.services import Serving
from llmlab.sandbox.imds import MAC
from llmlab.sandbox.own_disks import OwnDisks

LOG = logging.getLogger(__name__)
STOP_SECONDS = 30
"""Seconds from the shutdown signal to SIGKILL, as EC2 gives an instance time to shut down."""
DEVICE_LETTERS = 15
"""The maximum length of a network device's name (IFNAMSIZ)."""
FREEDOM = (
    "--cap-add", "ALL", "--cap-drop", "SYS_RESOURCE", "--security-opt", "seccomp=unconfined", "--security-opt", "apparmor=unconfined",
    "--security-opt", "systempaths=unconfined", "--device-cgroup-rule", "a *:* rwm", "--volume", "/sys/fs/cgroup:/sys/fs/cgroup:rw",
    "--tmpfs", "/run:exec", "--tmpfs", "/run/lock", "--tmpfs", "/tmp:exec",  # noqa: S108 - the container's own
    "--volume", "/var/lib/docker", "--env", "container=docker",
)  # fmt: skip
"""Docker options that systemd and an engine in a container need; `--privileged` fails where this computer lacks a capability itself."""


class DockerHost:
    """One machine's container. `metadata` answers its metadata requests; `powered_off` is called after it switched itself off."""

    def __init__(
        self, instance: Any, folder: Path, estate: Estate, metadata: Any, powered_off: Callable[[str], None], disks: OwnDisks
    ) -> None:
        self.identity = str(instance.id)
        self.address = str(instance.private_ip)
        self.hops = int(instance.metadata_options.http_put_response_hop_limit)
        self.folder, self.estate, self.metadata, self.powered_off, self.disks = folder, estate, metadata, powered_off, disks
        self.name = f"llmlab-{self.identity}"
        self._serving: Serving | None = None
        self._lock = threading.Lock()
        self._ended = False

    def start(self, _: bytes) -> None:
        """Boot in the background. The user data reaches the machine through its metadata service."""
        threading.Thread(target=self._live, name=self.name, daemon=True).start()

    def run(self, command: list[str]) -> None:
        self.estate.engine.attempt("exec", "--detach", self.name, *command)

    def end(self) -> None:
        """Stop the container, by SIGKILL when it does not shut down within `STOP_SECONDS`."""
        with self._lock:
            self._ended = True
            engine = self.estate.engine
            engine.attempt("stop", "--time", str(STOP_SECONDS), self.name)
            if not (self.folder / "console.log").exists():
                (self.folder / "console.log").write_bytes(self._logs())
            self.estate.remove(self.name)
            if self._serving is not None:
                self._serving.close()
                self._serving = None

    def console(self) -> bytes:
        kept = self.folder / "console.log"
        return kept.read_bytes() if kept.exists() else self._logs()

    def _live(self) -> None:
        """Boot the container, and wait for its end."""
        try:
            with self._lock:
                if self._ended:
                    return
                self._boot()
            self.estate.engine.attempt("wait", self.name)
        except Exception as error:
            LOG.exception("machine %s did not boot", self.identity)
            (self.folder / "console.log").write_text(f"the machine did not boot: {error}\n", encoding="utf-8")
        if not self._ended:
            self.powered_off(self.identity)

    def _boot(self) -> None:
        estate = self.estate
        options = ["--name", self.name, "--label", f"{LABEL}={estate.owner}", "--hostname", f"ip-{self.address.replace('.', '-')}"]
        options += ["--network", "none", "--dns", RESOLVER, "--cgroupns", "host", "--tty"]
        if self.disks.count:  # a mount point with a file system of its own, as the AMI's unit makes it
            options += ["--volume", "/opt/dlami/nvme", "--env", f"OWN_DISKS={self.disks.count}"]
        options += ["--volume", f"{estate.authority.certificate}:{BUNDLE}:ro"]
        estate.engine.run("run", "--detach", *options, *FREEDOM, estate.host_image)
        pid = int(estate.engine.run("inspect", "--format", "{{.State.Pid}}", self.name))
        device = f"v-{self.identity[2:]}"[:DEVICE_LETTERS]
        estate.namespace.plug_in(pid, device, self.address, MAC)
        self._serving = estate.metadata(self.metadata, device, self.hops)

    def _logs(self) -> bytes:
        command = ["docker", "logs", self.name]
        return subprocess.run(command, env=self.estate.engine.environment, capture_output=True, check=False).stdout
