"""What a machine's stand-in programs ask the sandbox for: power-off, timers, images, and how a container of theirs is killed."""

import os
import signal
from typing import Any

from llmlab.sandbox import registry
from llmlab.sandbox.machine import Machine, Room

API_VERSION = "1.41"
"""Of the stand-in's engine, as Docker 20.10 has it."""


class MachineRequests:
    """Answers for every machine of a room. `faults` are what the sandbox was told to let fail: verb of docker → message.

    Four are no verbs: of `engine` none answers, `version` is the one of the API that the engine claims to speak, `gpus` is what
    the trainer sees when it looks at its GPUs (`trainer.devices.of`): the machines have none. `disks` is how a new machine finds its own
    (`own_disks.OwnDisks`).
    """

    def __init__(self, room: Room) -> None:
        self.room = room
        self.faults: dict[str, str] = {}

    def answer(self, method: str, machine: Machine, path: list[str], body: dict[str, Any]) -> tuple[int, Any]:
        """The status and JSON of one request; `path` is what stands after the machine's id."""
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
        """As the kernel kills one: at once, and for want of memory if asked."""
        folder = machine.folder / "containers" / name
        pid = folder / "pid"
        if not pid.exists() or (folder / "exit").exists():
            return 404, {"error": f"container {name} is not running"}
        if memory:
            (folder / "oom").touch()
        kill(int(pid.read_text(encoding="ascii")))
        return 200, {}


def kill(group: int) -> None:
    """SIGKILL to a process group, if it is there."""
    try:
        os.killpg(group, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        return
