"""AWS's side of the network: a network namespace with the addresses of its services, and a veth cable to each machine.

Machines reach only these addresses: nothing is forwarded, neither to each other nor to this computer's network. The sandbox's own process
listens here from outside: a socket belongs to the namespace in which it was created.
"""

import ctypes
import os
import socket
import subprocess
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from llmlab.errors import LabError

API = "198.51.100.1"
"""The address of AWS's API, from a documentation range (RFC 5737)."""
REGISTRY = "198.51.100.2"
RESOLVER = "169.254.169.253"
"""The address of Amazon's DNS. https://docs.aws.amazon.com/vpc/latest/userguide/AmazonDNS-concepts.html"""
METADATA = "169.254.169.254"
FOLDER = Path("/run/netns")
CLONE_NEWNET = 0x40000000
CARD = "eth0"


class Namespace:
    """One network namespace, by name."""

    def __init__(self, name: str) -> None:
        self.name = name

    def create(self) -> None:
        ip("netns", "add", self.name)
        self.command(["sh", "-c", "echo 0 > /proc/sys/net/ipv4/ip_forward"])
        ip("-n", self.name, "link", "set", "lo", "up")
        for address in (API, REGISTRY, RESOLVER, METADATA):
            ip("-n", self.name, "address", "add", f"{address}/32", "dev", "lo")

    def plug_in(self, pid: int, device: str, address: str, mac: str) -> None:
        """Connect a process's namespace by a veth pair: `device` at this end, the network card `eth0` at the process's end."""
        ip("link", "add", device, "netns", self.name, "type", "veth", "peer", "name", CARD, "netns", str(pid))
        ip("-n", self.name, "link", "set", device, "up")
        ip("-n", self.name, "route", "add", f"{address}/32", "dev", device)
        inside = ["nsenter", "--target", str(pid), "--net", "ip"]
        call([*inside, "address", "add", f"{address}/32", "dev", CARD])
        call([*inside, "link", "set", CARD, "address", mac, "up"])
        call([*inside, "route", "add", "default", "dev", CARD])

    def listen(self, address: str, port: int, *, device: str = "", hops: int = 0) -> socket.socket:
        """A listening socket in this namespace. With `device` it hears that cable alone; `hops` is the IP_TTL of its answers."""

        def make() -> socket.socket:
            listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if device:
                listening.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, device.encode() + b"\0")
            if hops:
                listening.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, hops)
            listening.bind((address, port))
            listening.listen(128)
            return listening

        return self._inside(make)

    def command(self, arguments: Sequence[str]) -> str:
        """Run a program in this namespace; returns its output."""
        return call(self.entered(arguments))

    def entered(self, arguments: Sequence[str]) -> list[str]:
        """The command line that runs a program in this namespace. Not by `ip netns exec`, which hides the control groups."""
        return ["nsenter", f"--net={FOLDER / self.name}", *arguments]

    def delete(self) -> None:
        """Delete the namespace and every cable into it."""
        subprocess.run(["ip", "netns", "delete", self.name], capture_output=True, check=False)

    def _inside(self, make: Callable[[], socket.socket]) -> socket.socket:
        """Call `make` in a thread that enters the namespace, and ends there."""

        def move() -> socket.socket:
            library = ctypes.CDLL(None, use_errno=True)
            descriptor = os.open(FOLDER / self.name, os.O_RDONLY)
            try:
                if library.setns(descriptor, CLONE_NEWNET):
                    raise OSError(ctypes.get_errno(), f"the namespace {self.name} cannot be entered")
            finally:
                os.close(descriptor)
            return make()

        with ThreadPoolExecutor(1) as pool:
            return pool.submit(move).result()


def named(prefix: str) -> list[str]:
    """The names of this computer's network namespaces with a prefix."""
    return sorted(entry.name for entry in FOLDER.glob(f"{prefix}*")) if FOLDER.is_dir() else []


def ip(*arguments: str) -> str:
    return call(["ip", *arguments])


def call(command: Sequence[str]) -> str:
    """Run a command; returns its output. Raises `LabError` with the last line when it fails."""
    answer = subprocess.run(command, capture_output=True, text=True, check=False)
    if answer.returncode:
        lines = (answer.stderr or answer.stdout).strip().splitlines()
        raise LabError(f"{' '.join(command[:3])} failed: {lines[-1] if lines else answer.returncode}", "llmlab sandbox stop")
    return answer.stdout
