"""The machine room: for every moto instance a simulated machine that boots, runs and terminates as on EC2.

A machine's `Host` runs its user data: `machine_process` has the one that needs neither root nor Docker. Moto's state is read and changed
under `completion.LOCK`.
"""

import base64
import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, timedelta
from pathlib import Path
from typing import Any, Protocol

from llmlab.sandbox.completion import LOCK, fail
from llmlab.sandbox.timetable import Timetable

LOG = logging.getLogger(__name__)

BOOT_SECONDS = 0.5
"""Seconds from pending to running; AWS takes some ten."""
SPOT_NOTICE_SECONDS = 120.0
SPOT_REASON = "Server.SpotInstanceTermination"
SPOT_MESSAGE = "Server.SpotInstanceTermination: Spot instance termination"
OWN_REASON = "Client.InstanceInitiatedShutdown"
OWN_MESSAGE = "Client.InstanceInitiatedShutdown: Instance initiated shutdown"
USER_REASON = "Client.UserInitiatedShutdown"
USER_MESSAGE = "Client.UserInitiatedShutdown: User initiated shutdown"
CODES = {"pending": 0, "running": 16, "shutting-down": 32, "terminated": 48, "stopping": 64, "stopped": 80}
Emit = Callable[[Any, str, dict[str, Any]], None]
"""Called with an EC2 backend, an event's detail-type and its detail."""


class Host(Protocol):
    """The backend that runs a machine's user data."""

    def start(self, user_data: bytes) -> None:
        """Run the user data; returns at once."""
        ...

    def run(self, command: list[str]) -> None:
        """Start a command on the machine, as one of its timers does."""
        ...

    def end(self) -> None:
        """End every process of the machine; return when none is left."""
        ...

    def console(self) -> bytes:
        """The machine's console output."""
        ...


@dataclass
class Machine:
    """One simulated machine. `instance` is moto's instance."""

    instance: Any
    folder: Path
    host: Host
    timers: dict[str, int] = field(default_factory=dict)
    """Systemd unit → the number of its entry in the timetable."""
    spot_action: dict[str, str] | None = None
    going: bool = False
    """The machine is shutting down."""

    @property
    def identity(self) -> str:
        return str(self.instance.id)


class Room:
    """All machines of a sandbox."""

    def __init__(self, folder: Path, timetable: Timetable, make_host: Callable[[Any, Path], Host], emit: Emit) -> None:
        self.folder = folder
        self.timetable = timetable
        self.make_host = make_host
        self.emit = emit
        self.machines: dict[str, Machine] = {}
        self._ending: list[threading.Thread] = []

    # ------------------------------------------------------------ life

    def launched(self, instance: Any) -> None:
        """Create the machine of a new moto instance: pending at first, it boots after `BOOT_SECONDS`."""
        folder = self.folder / str(instance.id)
        folder.mkdir(parents=True)
        machine = Machine(instance, folder, self.make_host(instance, folder))
        self.machines[machine.identity] = machine
        instance.launch_time = self.timetable.now().replace(tzinfo=None)
        self._state(machine, "pending")
        self.timetable.after(BOOT_SECONDS, lambda: self._boot(machine))

    def _boot(self, machine: Machine) -> None:
        with LOCK:
            if machine.going:
                return
            ends = vars(machine.instance).get("_llmlab_ends")
            if ends is None:
                self._state(machine, "running")
            user_data = machine.instance.user_data
        if ends is not None:
            self._down(machine, *ends)
            return
        machine.host.start(base64.b64decode(str(user_data)) if user_data else b"")

    def power_off(self, identity: str) -> None:
        """The machine switched itself off: it is terminated or stopped, as its shutdown behaviour says."""
        machine = self.machines[identity]
        behaviour = machine.instance.instance_initiated_shutdown_behavior
        self._down(machine, OWN_REASON, OWN_MESSAGE, stop=behaviour == "stop")

    def terminate(self, backend: Any, identities: list[str]) -> dict[str, Any]:
        """Answer TerminateInstances: instances are shutting-down now, and terminated when their processes are gone."""
        with LOCK:
            instances = [backend.get_instance(identity) for identity in identities]
            protected = next((instance.id for instance in instances if instance.disable_api_termination in {True, "true"}), None)
            if protected:
                raise fail(
                    "OperationNotPermitted",
                    f"The instance '{protected}' may not be terminated. Modify its 'disableApiTermination' instance attribute.",
                )
            answers = []
            for instance in instances:
                before = {"Code": instance.state_code, "Name": instance.state}
                machine = self.machines.get(instance.id)
                if machine and instance.state != "terminated":
                    self._down(machine, USER_REASON, USER_MESSAGE)
                answers.append(
                    {
                        "InstanceId": instance.id,
                        "PreviousState": before,
                        "CurrentState": {"Code": instance.state_code, "Name": instance.state},
                    }
                )
        return {"TerminatingInstances": answers}

    def interrupt(self, identity: str, notice_seconds: float = SPOT_NOTICE_SECONDS) -> None:
        """Interrupt a spot instance: a notice in IMDS and as an event, and termination when the notice has passed."""
        machine = self.machines[identity]
        moment = self.timetable.now() + timedelta(seconds=notice_seconds)
        machine.spot_action = {"action": "terminate", "time": moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")}
        backend = machine.instance.ec2_backend
        self.emit(backend, "EC2 Spot Instance Interruption Warning", {"instance-id": identity, "instance-action": "terminate"})
        self.timetable.after(notice_seconds, lambda: self._down(machine, SPOT_REASON, SPOT_MESSAGE))

    def _down(self, machine: Machine, code: str, message: str, *, stop: bool = False) -> None:
        with LOCK:
            if machine.going:
                return
            machine.going = True
            for number in machine.timers.values():
                self.timetable.cancel(number)
            machine.timers.clear()
            self._reason(machine.instance, code, message)
            self._state(machine, "stopping" if stop else "shutting-down")
        thread = threading.Thread(target=self._gone, args=(machine, code, message, stop), name=f"end-{machine.identity}", daemon=True)
        self._ending.append(thread)
        thread.start()

    def _gone(self, machine: Machine, code: str, message: str, stop: bool) -> None:
        try:
            machine.host.end()
        except Exception:
            LOG.exception("machine %s did not end well", machine.identity)
        with LOCK:
            instance = machine.instance
            if stop:
                instance.stop()
            else:
                instance.terminate()
            self._reason(instance, code, message)
            self._state(machine, "stopped" if stop else "terminated")

    def _reason(self, instance: Any, code: str, message: str) -> None:
        from moto.ec2.models.instances import StateReason

        instance.state_reason = StateReason(message, code)
        instance._reason = f"User initiated ({self.timetable.now():%Y-%m-%d %H:%M:%S} GMT)" if code == USER_REASON else ""

    def _state(self, machine: Machine, name: str) -> None:
        from moto.ec2.models.instances import InstanceState

        machine.instance._state = InstanceState(name, CODES[name])
        self.emit(machine.instance.ec2_backend, "EC2 Instance State-change Notification", {"instance-id": machine.identity, "state": name})

    # ------------------------------------------------------------ what a machine asks for

    def set_timer(self, identity: str, unit: str, seconds: float, command: list[str]) -> bool:
        """Start a timer that runs a command; False when a timer of that name exists."""
        machine = self.machines[identity]
        if unit in machine.timers:
            return False

        def ring() -> None:
            machine.timers.pop(unit, None)
            if not machine.going:
                machine.host.run(command)

        machine.timers[unit] = self.timetable.after(seconds, ring)
        return True

    def stop_timer(self, identity: str, unit: str) -> bool:
        """Cancel a timer; False when there is none of that name."""
        number = self.machines[identity].timers.pop(unit, None)
        if number is not None:
            self.timetable.cancel(number)
        return number is not None

    def find(self, run: str) -> list[Machine]:
        """The running machines with this instance id or this value of any tag, such as a run's id."""
        with LOCK:
            alive = [machine for machine in self.machines.values() if not machine.going]
            return [machine for machine in alive if machine.identity == run or run in {tag["value"] for tag in machine.instance.get_tags()}]

    def close(self) -> None:
        """End all machines in parallel."""
        threads = [threading.Thread(target=machine.host.end, daemon=True) for machine in self.machines.values()]
        for thread in threads:
            thread.start()
        for thread in [*threads, *self._ending]:
            thread.join(timeout=10)
        self._ending.clear()
