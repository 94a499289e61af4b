"""The programs and rights that Docker mode needs of this computer, and which of them are missing."""

import os
import shutil
import sys
from pathlib import Path

from llmlab.errors import LabError

PACKAGES = {
    "dockerd": "docker.io",
    "docker": "docker.io",
    "docker-registry": "docker-registry",
    "htpasswd": "apache2-utils",
    "dnsmasq": "dnsmasq-base",
    "mmdebstrap": "mmdebstrap",
    "ip": "iproute2",
    "nsenter": "util-linux",
    "setpriv": "util-linux",
}
"""Program → the Debian package that contains it."""
CAPABILITIES = {"CAP_NET_ADMIN": 12, "CAP_SYS_ADMIN": 21}
"""Capabilities that root needs for networks and machines, and may lack in a container; bits of include/uapi/linux/capability.h."""
SYSTEM_PATH = "/usr/local/sbin:/usr/sbin:/sbin"


def programs_missing() -> list[str]:
    """The programs that are not installed. With a running Docker engine, `dockerd` itself is not needed."""
    path = os.pathsep.join([os.environ.get("PATH", os.defpath), SYSTEM_PATH])
    missing = [name for name in PACKAGES if shutil.which(name, path=path) is None]
    engine = os.environ.get("DOCKER_HOST") or Path("/var/run/docker.sock").exists()
    return [name for name in missing if not (name == "dockerd" and engine)]


def packages_missing() -> list[str]:
    """The Debian packages of the missing programs."""
    return sorted({PACKAGES[name] for name in programs_missing()})


def capabilities_missing(status: str) -> list[str]:
    """The capabilities that a process lacks, by the text of its `/proc/PID/status`."""
    effective = next((int(line.split()[1], 16) for line in status.splitlines() if line.startswith("CapEff:")), 0)
    return [name for name, bit in CAPABILITIES.items() if not effective >> bit & 1]


def possible() -> bool:
    """Whether this computer can run Docker mode, as far as can be checked without trying."""
    try:
        check()
    except LabError:
        return False
    return True


def check() -> None:
    """Raise `LabError` for the first missing requirement, with the way to get it."""
    if sys.platform != "linux":
        raise LabError("machines in containers need Linux", "llmlab sandbox start --machine process")
    missing = programs_missing()
    if missing:
        packages = " ".join(packages_missing())
        words = f"{', '.join(missing[:-1])} and {missing[-1]} are" if len(missing) > 1 else f"{missing[0]} is"
        raise LabError(f"{words} not installed", f"apt-get install --no-install-recommends {packages}")
    if os.geteuid() != 0:
        raise LabError("machines in containers need root, for their network", "sudo llmlab sandbox start --machine docker")
    lacking = capabilities_missing(Path("/proc/self/status").read_text(encoding="utf-8"))
    if lacking:
        words = " and ".join(lacking)
        raise LabError(f"root has no {words} here, as in a container without privileges", "llmlab sandbox start --machine process")
