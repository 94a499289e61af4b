"""The control requests of a machine: power-off, timers, images, and killing a container."""

import os
import signal
from typing import Any

from llmlab.sandbox import registry
from llmlab.sandbox.machine import Machine, Room

API_VERSION = "1.41"
"""The API version of the stand-in's engine, that of Docker 20.10."""


class MachineRequests:
    """Answers the stand-in programs of every machine of a room. `faults` are the failures to simulate: docker verb → error message.

    Four keys are no verbs: with `engine` no engine answers, `version` is the API version that the engine reports, `gpus` are the GPUs that
    the trainer sees (`trainer.cuda_devices.of`), since the machines have none, and `disks` is the state of a new machine's instance store
    (`own_disks.OwnDisks`).
    """

    def __init__(self, room: Room) -> None:
        self.room = room
        self.faults: dict[str, str] = {}

    def answer(self, method: str, machine: Machine, path: list[str], body: dict[str, Any]) -> tuple[int, Any]:
        """The status and JSON of one request; `path` is the part after the machine's id."""
        room, identity = self.room, machine.identity
        match path:
            case ["poweroff"]:
                room.power_off(identity)
            case ["state"]:
                return 200, {"running": "stopping" if machine.going else "running"}
            case ["timers"]:
                done = room.set_timer(identity, body["unit"], float(body["seconds"]), list(body["command"]))
                return (200 if done else 409), {}
            case ["timers", unit]:
                if method == "DELETE":
                    return (200 if room.stop_timer(identity, unit) else 404), {}
                return (200 if unit in machine.timers else 404), {}
            case ["image"]:
                return self._image(machine, body["reference"], body["verb"])
            case ["engine"]:
                down = self.faults.get("engine")
                return (500, {"error": down}) if down else (200, {"version": self.faults.get("version", API_VERSION)})
            case ["gpus"]:
                return 200, {"seen": self.faults.get("gpus", "")}
            case ["containers", name, "kill"]:
                return self._kill_container(machine, name, memory=bool(body.get("memory")))
            case _:
                return 404, {"error": "/".join(path)}
        return 200, {}

    def _image(self, machine: Machine, reference: str, verb: str) -> tuple[int, Any]:
        if verb in self.faults:
            return 500, {"error": self.faults[verb]}
        backend = machine.instance.ec2_backend
        digest = registry.find(reference, backend.region_name, backend.account_id)
        if digest is None:
            return 404, {"error": f"manifest for {reference} not found: manifest unknown: Requested image not found"}
        return 200, {"digest": digest}

    def _kill_container(self, machine: Machine, name: str, *, memory: bool) -> tuple[int, Any]:
        """SIGKILL a container; with `memory`, mark it as killed for lack of memory."""
        folder = machine.folder / "containers" / name
        pid = folder / "pid"
        if not pid.exists() or (folder / "exit").exists():
            return 404, {"error": f"container {name} is not running"}
        if memory:
            (folder / "oom").touch()
        kill(int(pid.read_text(encoding="ascii")))
        return 200, {}


def kill(group: int) -> None:
    """Send SIGKILL to a process group, if it exists."""
    try:
        os.killpg(group, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        return
