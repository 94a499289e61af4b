"""The sandbox's server, in one process: moto's API, completed; machines, metadata, events and schedules; and the control API.

Control, under `/_sandbox/`: GET state · POST clock {seconds} · POST interrupt {run, notice_seconds} · POST refuse {…}, allow ·
POST quotas {code, value} · POST delay {seconds} · POST rules {on, off, modes} · POST faults {verb, message} ·
POST internet {hosts, authority} · GET console/<id> · POST stop; machines use `/_sandbox/machines/<id>/…`.
"""

import json
import os
import shutil
import threading
from collections.abc import Callable, Iterable
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

from llmlab.clock import SystemClock
from llmlab.sandbox import (
    completion,
    completion_compute,
    completion_fis,
    completion_lambda,
    completion_registry,
    market,
    own_disks,
    registry,
)
from llmlab.sandbox.completion import LOCK
from llmlab.sandbox.completion_delays import DELAY
from llmlab.sandbox.estate.estate import Estate
from llmlab.sandbox.events import Events
from llmlab.sandbox.imds import Metadata
from llmlab.sandbox.machine import SPOT_NOTICE_SECONDS, Host, Room
from llmlab.sandbox.machine_docker import DockerHost
from llmlab.sandbox.machine_process import ProcessHost
from llmlab.sandbox.machine_requests import MachineRequests, kill
from llmlab.sandbox.refusals.switch import SWITCH, Switch
from llmlab.sandbox.schedules import Schedules
from llmlab.sandbox.timetable import Timetable

HOST = "127.0.0.1"
REGION = "us-east-1"
IMDS = "/_imds/"
CONTROL = "/_sandbox/"
CONSOLE_BYTES = 64 * 1024
PASSWORD = "123456789012-auth-token"  # noqa: S105 - what moto's GetAuthorizationToken gives to everyone
Start = Callable[[str, list[tuple[str, str]]], object]


class Service:
    """A sandbox that serves from a thread of this process.

    With `containers`, its machines are containers, otherwise processes. `delay_seconds` is how long new resources stay unseen.
    `rules` are the refusal rules that hold in addition to those that always do.
    """

    def __init__(
        self, folder: Path, port: int = 0, *, containers: bool = False, delay_seconds: float = 0, rules: Switch | None = None
    ) -> None:
        completion.complete()
        registry.install()
        from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
        from werkzeug.serving import make_server

        class QuietMotoHandler(MotoRequestHandler):  # type: ignore[misc]
            def log_request(self, *_: object) -> None:
                """Log no requests: a line for each call would bury the rest of the log."""

        self.folder = folder
        self.stopped = threading.Event()
        self.moto = DomainDispatcherApplication(create_backend_app)
        self.server = make_server(HOST, port, self._application, threaded=True, request_handler=QuietMotoHandler)
        self.server.daemon_threads = True
        self.endpoint = f"http://{HOST}:{self.server.server_port}"
        self.timetable = Timetable()
        self.events = Events(self.timetable, self._api)
        self.room = Room(folder / "machines", self.timetable, self._host, self.events.emit)
        self.metadata = Metadata(self.room)
        self.requests = MachineRequests(self.room)
        self.schedules = Schedules(self.timetable, self.events)
        self.estate = Estate(folder / "estate", SystemClock()) if containers else None
        self.handler: type = QuietMotoHandler
        self.delay_seconds = delay_seconds
        self.rules = rules or Switch()
        self._clients: dict[tuple[str, str], Any] = {}

    def start(self, say: Callable[[str], None] = lambda _: None) -> None:
        """Start to serve, and to run a machine for each launch. In Docker mode this first starts the services around the machines.

        Raises:
            LabError: Docker mode is not possible on this computer.
        """
        (self.folder / "machines").mkdir(parents=True, exist_ok=True)
        if self.estate is not None:
            self.estate.open(self._aws, self.handler, PASSWORD, say)
            registry.SHELVES.append(self.estate.shelf.put)
            completion_registry.SHELVES.append(self.estate.shelf.read)
        completion_lambda.RUNTIME.endpoint = self.endpoint
        completion_lambda.RUNTIME.clock = self.timetable
        DELAY.seconds = self.delay_seconds
        SWITCH.set(self.rules)
        registry.STANDING.append(self)
        completion_compute.LAUNCHED.append(self.room.launched)
        completion_compute.TERMINATE.append(self.room.terminate)
        completion_fis.INTERRUPT.append(self.room.interrupt)
        self._answer_console()
        self.timetable.start()
        self.schedules.start()
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.1}, name="server", daemon=True).start()

    def close(self) -> None:
        """End every machine, stop serving and delete the folder."""
        self.stopped.set()
        registry.STANDING.remove(self)
        completion_compute.LAUNCHED.remove(self.room.launched)
        completion_compute.TERMINATE.remove(self.room.terminate)
        completion_fis.INTERRUPT.remove(self.room.interrupt)
        self.timetable.stop()
        self.room.close()
        self.events.close()
        for process in list(completion_lambda.RUNTIME.running):
            kill(process.pid)
        self.server.shutdown()
        self.server.server_close()
        if self.estate is not None:
            registry.SHELVES.remove(self.estate.shelf.put)
            completion_registry.SHELVES.remove(self.estate.shelf.read)
            self.estate.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _host(self, instance: Any, folder: Path) -> Host:
        disks = own_disks.of(instance.instance_type, self.requests.faults.get("disks", ""))
        if self.estate is None:
            return ProcessHost(str(instance.id), folder, self.endpoint, disks)
        identity = str(instance.id)
        return DockerHost(instance, folder, self.estate, lambda *call: self._metadata(identity, *call), self.room.power_off, disks)

    def _api(self, region: str, service: str, operation: str, parameters: dict[str, Any]) -> None:
        """A universal target of Scheduler: call any operation of any service, at the sandbox's own endpoint."""
        import botocore.session
        from botocore import xform_name

        key = (service, region)
        if key not in self._clients:
            session = botocore.session.Session()
            self._clients[key] = session.create_client(
                service,
                region_name=region,
                endpoint_url=self.endpoint,
                aws_access_key_id="AKIASANDBOXSCHEDULER",
                aws_secret_access_key="sandbox",  # noqa: S106
            )
        getattr(self._clients[key], xform_name(operation[0].upper() + operation[1:]))(**parameters)

    def _answer_console(self) -> None:
        from moto.core.types import Base64EncodedString
        from moto.ec2.responses import EC2Response

        def console(response: Any, values: dict[str, Any]) -> dict[str, Any]:
            instance = response.ec2_backend.get_instance(values["InstanceId"])
            machine = self.room.machines.get(instance.id)
            text = machine.host.console()[-CONSOLE_BYTES:] if machine else b""
            return {
                "InstanceId": instance.id,
                "Timestamp": self.timetable.now().replace(tzinfo=None),
                "Output": Base64EncodedString.from_raw_bytes(text),
            }

        completion.answer(EC2Response, "GetConsoleOutput", console)

    # ------------------------------------------------------------ the front door

    def _application(self, environ: dict[str, Any], start: Start) -> Iterable[bytes]:
        path = environ["PATH_INFO"]
        if path.startswith(IMDS):
            identity, _, rest = path.removeprefix(IMDS).partition("/")
            return self._metadata(identity, {**environ, "PATH_INFO": f"/{rest}"}, start)
        if path.startswith(CONTROL):
            return self._control(environ, path.removeprefix(CONTROL).strip("/"), start)
        return self._aws(environ, start)

    def _aws(self, environ: dict[str, Any], start: Start) -> Iterable[bytes]:
        """The AWS API without metadata and control: all that machines in containers reach."""
        environ["wsgi.url_scheme"] = "https"  # it stands for AWS's own endpoints, which speak TLS
        return self.moto(environ, start)  # type: ignore[no-any-return]

    def _metadata(self, identity: str, environ: dict[str, Any], start: Start) -> Iterable[bytes]:
        headers = {key[5:].lower().replace("_", "-"): value for key, value in environ.items() if key.startswith("HTTP_")}
        status, body = self.metadata.answer(environ["REQUEST_METHOD"], identity, environ["PATH_INFO"].lstrip("/"), headers)
        return _respond(start, status, body if isinstance(body, bytes) else body.encode(), "text/plain")

    def _control(self, environ: dict[str, Any], path: str, start: Start) -> Iterable[bytes]:
        length = int(environ.get("CONTENT_LENGTH") or 0)
        body = json.loads(environ["wsgi.input"].read(length) or b"{}") if length else {}
        query = {key: values[-1] for key, values in parse_qs(environ.get("QUERY_STRING", "")).items()}
        try:
            if path.startswith("machines/"):
                _, identity, *rest = path.split("/")
                status, answer = self.requests.answer(environ["REQUEST_METHOD"], self.room.machines[identity], rest, {**query, **body})
            else:
                status, answer = 200, self._command(path, body)
        except (KeyError, ValueError, LookupError) as error:
            status, answer = 400, {"error": str(error.args[0]) if error.args else type(error).__name__}
        return _respond(start, status, json.dumps(answer).encode(), "application/json")

    def _command(self, path: str, body: dict[str, Any]) -> Any:
        name, _, rest = path.partition("/")
        if name == "state":
            return self.state()
        if name == "clock":
            self.timetable.advance(float(body["seconds"]))
        elif name == "interrupt":
            return {"instances": self.interrupt(body["run"], float(body.get("notice_seconds", SPOT_NOTICE_SECONDS)))}
        elif name == "reset":
            self.reset()
        elif name == "console":
            return {"output": self.room.machines[rest].host.console().decode(errors="replace")}
        elif name == "stop":
            self.stopped.set()
        else:
            self._set(name, body)
        return {}

    def _set(self, name: str, body: dict[str, Any]) -> None:
        """Change a setting of the account or the sandbox."""
        region = body.get("region", REGION)
        if name == "refuse":
            with LOCK:
                market.refuse(region, **{key: body[key] for key in ("instance_type", "zone", "market", "code") if key in body})
        elif name == "allow":
            with LOCK:
                market.allow(region)
        elif name == "quotas":
            with LOCK:
                market.set_quota(region, body["code"], float(body["value"]))
        elif name == "delay":
            DELAY.seconds = float(body["seconds"])
        elif name == "rules":
            with LOCK:
                SWITCH.turn_on(body.get("on", []), body.get("modes", []))
                if "off" in body:
                    SWITCH.turn_off(*body["off"])
        elif name == "faults":
            self.requests.faults = {
                key: value for key, value in {**self.requests.faults, body["verb"]: body.get("message")}.items() if value
            }
            self.metadata.unready = int(self.requests.faults.get("metadata", "0"))
        elif name == "internet":
            completion_lambda.RUNTIME.internet = {host: (number, int(port)) for host, (number, port) in body["hosts"].items()}
            completion_lambda.RUNTIME.authority = body["authority"]
        else:
            raise LookupError(f"the sandbox has no {name}")

    def reset(self) -> None:
        """End all machines and return to an empty account with the settings of the start."""
        from moto.core.base_backend import BackendDict

        self.timetable.clear()
        self.room.close()
        self.events.reset()
        for process in list(completion_lambda.RUNTIME.running):
            kill(process.pid)
        with LOCK:
            self.room.machines.clear()
            self.requests.faults.clear()
            self.metadata.unready = 0
            completion_lambda.RUNTIME.internet.clear()
            DELAY.seconds = self.delay_seconds
            SWITCH.set(self.rules)
            BackendDict.reset()
        self.schedules.start()

    def interrupt(self, run: str, notice_seconds: float) -> list[str]:
        """Interrupt the spot instances of a run, or one by its id. Raises LookupError when none is running."""
        machines = [machine for machine in self.room.find(run) if machine.instance.lifecycle == market.SPOT]
        if not machines:
            raise LookupError(f"no spot instance of {run} is running")
        for machine in machines:
            self.room.interrupt(machine.identity, notice_seconds)
        return [machine.identity for machine in machines]

    def state(self) -> dict[str, Any]:
        """The sandbox's state, as JSON."""
        with LOCK:
            machines = [
                {
                    "instance": machine.identity,
                    "type": machine.instance.instance_type,
                    "zone": machine.instance.placement.zone,
                    "state": machine.instance.state,
                    "reason": machine.instance.state_reason.code,
                    "tags": {tag["key"]: tag["value"] for tag in machine.instance.get_tags()},
                    "timers": sorted(machine.timers),
                    "folder": str(machine.folder),
                }
                for machine in self.room.machines.values()
            ]
        return {
            "endpoint": self.endpoint, "pid": os.getpid(), "time": self.timetable.now().isoformat(), "offset": self.timetable.offset,
            "delay": DELAY.seconds, "rules": sorted({*SWITCH.named, *SWITCH.modes}),
            "machines": machines, "delivered": self.events.delivered, "faults": self.requests.faults,
            "docker": self.estate.engine.environment.get("DOCKER_HOST", "") if self.estate else None,
        }  # fmt: skip


def _respond(start: Start, status: int, body: bytes, kind: str) -> list[bytes]:
    start(f"{status} {HTTPStatus(status).phrase}", [("Content-Type", kind), ("Content-Length", str(len(body)))])
    return [body]
