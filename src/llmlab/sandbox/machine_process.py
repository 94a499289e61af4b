"""A machine as a process tree: bash runs its user data, with a folder for `/` and stand-in programs first on PATH. It needs no root.

The downside: nothing keeps the script from the rest of this computer. It is your own script, on your own machine.
"""

import gzip
import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import llmlab
from llmlab.aws.user_data import MAGIC
from llmlab.contract import Env
from llmlab.sandbox.own_disks import OwnDisks

PROGRAMS = Path(__file__).parent / "programs"
STAND_INS = {
    "docker": "docker.py",
    "tmux": "tmux.py",
    "amazon-cloudwatch-agent-ctl": "cloudwatch.py",
    **dict.fromkeys(("lsblk", "vgcreate", "lvcreate", "mkfs.ext4", "mount", "mountpoint"), "disks.py"),
    **dict.fromkeys(("systemctl", "systemd-run", "poweroff", "shutdown", "halt", "reboot", "snap"), "power.py"),
}
NEED_NAME = {"power.py", "disks.py"}
ROOT_FOLDERS = ("root", "tmp", "run", "var/log", "var/lib", "opt", "etc", "home/ubuntu")
END_SECONDS = 12


class ProcessHost:
    """One machine's processes. `endpoint` is the sandbox's own address, `disks` the instance store disks of the machine's type."""

    def __init__(self, identity: str, folder: Path, endpoint: str, disks: OwnDisks) -> None:
        self.identity = identity
        self.folder = folder
        self.endpoint = endpoint
        self.disks = disks
        self._keeper: subprocess.Popen[bytes] | None = None
        self._lock = threading.Lock()

    def start(self, user_data: bytes) -> None:
        for place in ("groups", "containers", "bin", *(f"root/{name}" for name in ROOT_FOLDERS)):
            (self.folder / place).mkdir(parents=True, exist_ok=True)
        self._stand_ins()
        self._plug_in_disks()
        (self.folder / "console.log").touch()
        script = gzip.decompress(user_data) if user_data.startswith(MAGIC) else user_data  # as cloud-init does
        (self.folder / "user-data").write_bytes(script if script.startswith(b"#!") else b"#!/bin/sh\n")
        with self._lock:
            self._keeper = subprocess.Popen(
                [sys.executable, "-I", "-S", str(PROGRAMS / "keeper.py"), str(self.folder)],
                env=self.environment(),
                cwd=self.folder / "root",
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=(self.folder / "keeper.log").open("ab"),
                start_new_session=True,
            )

    def environment(self) -> dict[str, str]:
        """The environment of a root shell of the instance, with the SDK settings that point to the sandbox."""
        kept = {name: os.environ[name] for name in ("LANG", "LC_ALL", "TZ", "OMP_NUM_THREADS") if name in os.environ}
        path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
        return {
            **kept,
            "PATH": os.pathsep.join([str(self.folder / "bin"), path]),
            "HOME": str(self.folder / "root" / "root"),
            "TMPDIR": str(self.folder / "root" / "tmp"),
            Env.ROOT.value: str(self.folder / "root"),
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_EC2_METADATA_SERVICE_ENDPOINT": f"{self.endpoint}/_imds/{self.identity}",
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
            "NO_PROXY": "127.0.0.1",
            "no_proxy": "127.0.0.1",
            "SANDBOX_MACHINE": str(self.folder),
            "SANDBOX_CONTROL": f"{self.endpoint}/_sandbox/machines/{self.identity}",
            "SANDBOX_PYTHON": sys.executable,
            "SANDBOX_PATH": path,
            "SANDBOX_PYTHONPATH": str(Path(llmlab.__file__).parent.parent),
        }

    def run(self, command: list[str]) -> None:
        with self._lock:
            if self._keeper is None or self._keeper.poll() is not None:
                return
            with (self.folder / "console.log").open("ab") as console:
                process = subprocess.Popen(
                    command,
                    env=self.environment(),
                    cwd=self.folder / "root",
                    stdin=subprocess.DEVNULL,
                    stdout=console,
                    stderr=console,
                    start_new_session=True,
                )
            (self.folder / "groups" / str(process.pid)).touch()
        threading.Thread(target=process.wait, daemon=True).start()

    def end(self) -> None:
        with self._lock:
            keeper = self._keeper
            if keeper is None:
                return
            if keeper.stdin and not keeper.stdin.closed:
                keeper.stdin.close()
        try:
            keeper.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            keeper.kill()
            keeper.wait()

    def console(self) -> bytes:
        log = self.folder / "console.log"
        return log.read_bytes() if log.exists() else b""

    def _plug_in_disks(self) -> None:
        """Create each disk under two of its udev names, with or without the AMI's unit, which has mounted the disks or is about to."""
        root = self.folder / "root"
        names = root / "dev/disk/by-id"
        names.mkdir(parents=True)
        for number in range(1, self.disks.count + 1):
            device = root / f"dev/nvme{number}n1"
            device.touch()
            for name in (f"{self.disks.NAME}AWS{number:017d}", f"{self.disks.NAME}AWS{number:017d}_1"):
                (names / name).symlink_to(device)
        state: dict[str, object] = {"due": 2 if self.disks.state == "late" else 0}
        if self.disks.count and self.disks.has_unit:
            (root / "opt/dlami/nvme").mkdir(parents=True)
            (root / f"etc/{self.disks.UNIT}").touch()
            state["mounts"] = {str(root / "opt/dlami/nvme"): "/dev/mapper/vg.01-lv_ephemeral"}
        if self.disks.state == "used":
            state["holds"] = {str(root / "dev/nvme1n1"): "xfs"}
        (self.folder / "disks.json").write_text(json.dumps(state), encoding="utf-8")

    def _stand_ins(self) -> None:
        """Write each stand-in program as a shell script, because a shebang cannot hold a path with spaces."""
        for name, program in STAND_INS.items():
            argument = f" {name}" if program in NEED_NAME else ""
            script = self.folder / "bin" / name
            script.write_text(f"#!/bin/sh\nexec '{sys.executable}' -I -S '{PROGRAMS / program}'{argument} \"$@\"\n", encoding="utf-8")
            script.chmod(0o755)
