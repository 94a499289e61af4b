"""The client of a running sandbox: `Sandbox` starts one as a process, finds the running one, and controls it.

Moto is not imported here. The running sandbox's address is in a state file, so that every later command finds it.
"""

import contextlib
import http.client
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

from llmlab.clock import Clock, SystemClock, wait_until
from llmlab.errors import LabError
from llmlab.ops import extras
from llmlab.sandbox.estate import requirements

REGION = "us-east-1"
START_SECONDS = 180
BUILD_SECONDS = 1800
"""Time limit in seconds for the start of Docker mode, which builds its images the first time."""
STOP_SECONDS = 120
UNSET = (
    "AWS_PROFILE", "AWS_DEFAULT_PROFILE", "AWS_SESSION_TOKEN", "AWS_SECURITY_TOKEN", "AWS_ROLE_ARN", "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_EC2_METADATA_SERVICE_ENDPOINT", "LLMLAB_PROFILE", "LLMLAB_REGION",
)  # fmt: skip
"""Environment variables that would lead a command out of the sandbox."""


@dataclass(frozen=True)
class Sandbox:
    """One running sandbox: its endpoint, process id and folder."""

    endpoint: str
    pid: int
    folder: str

    @classmethod
    def start(
        cls,
        clock: Clock | None = None,
        *,
        attached: bool = False,
        containers: bool = False,
        delay_seconds: float = 0,
        rules: Iterable[str] = (),
        modes: Iterable[str] = (),
        say: Callable[[str], None] | None = None,
    ) -> Self:
        """Start a new sandbox. `attached`: it ends with this process; otherwise it runs until `stop`.

        `containers`: its machines are containers (Docker mode), and `say` is called with lines of progress.
        `delay_seconds`: how long new resources stay unseen (`delay`). `rules` and `modes` hold from the start (`turn_on`).

        Raises:
            LabError: the sandbox did not come up, with the last line of its log.
        """
        extras.require("sandbox")
        if containers:
            requirements.check()
        folder = Path(tempfile.mkdtemp(prefix="llmlab-sandbox-"))
        log = folder / "log"
        command = [sys.executable, "-m", "llmlab.sandbox", str(folder), *(["--attached"] if attached else [])]
        command += [*(["--containers"] if containers else []), "--delay", str(delay_seconds)]
        command += [f"--refuse={name}" for name in rules] + [f"--mode={name}" for name in modes]
        environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep),
        }
        with log.open("wb") as stream:
            process = subprocess.Popen(
                command,
                env=environment,
                stdin=subprocess.PIPE if attached else subprocess.DEVNULL,
                stdout=stream,
                stderr=stream,
                start_new_session=True,
            )
        serving = folder / "endpoint"
        progress = StartProgress(folder / "progress", say)

        def settled() -> bool:
            progress.tell()
            return serving.exists() or process.poll() is not None

        limit = BUILD_SECONDS if containers else START_SECONDS
        try:
            wait_until(settled, clock or SystemClock(), limit_seconds=limit, every_seconds=0.05)
        except BaseException:
            process.terminate()
            _reap(process)
            shutil.rmtree(folder, ignore_errors=True)
            raise
        if not serving.exists():
            process.kill()
            _reap(process)
            failed = folder / "failed"
            if failed.exists():
                message, hint, *_ = failed.read_text(encoding="utf-8").split("\n")
                shutil.rmtree(folder, ignore_errors=True)
                raise LabError(message, hint)
            words = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
            shutil.rmtree(folder, ignore_errors=True)
            raise LabError(
                f"the sandbox did not start within {limit} s: {words[-1] if words else 'it said nothing'}", "llmlab sandbox start -vv"
            )
        _CHILDREN[process.pid] = process
        return cls(serving.read_text(encoding="ascii"), process.pid, str(folder))

    @classmethod
    def find(cls, environment: Mapping[str, str] = os.environ) -> Self | None:
        """The running sandbox: the one at `AWS_ENDPOINT_URL` if that is set, else the one that `sandbox start` left running, or None."""
        endpoint = environment.get("AWS_ENDPOINT_URL", "")
        if endpoint:
            try:
                state = _call(endpoint, "GET", "state", None, seconds=5)
                return cls(endpoint.rstrip("/"), state["pid"], "")
            except (OSError, http.client.HTTPException, ValueError, LabError, KeyError):
                return None
        try:
            sandbox = cls(**json.loads(state_file(environment).read_text(encoding="utf-8")))
            sandbox.state()
        except (OSError, ValueError, TypeError, http.client.HTTPException, LabError):
            return None
        return sandbox

    def save(self, environment: Mapping[str, str] = os.environ) -> None:
        """Write the state file, so that `find` finds this sandbox."""
        path = state_file(environment)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(asdict(self), indent=1), encoding="utf-8")

    def environment(self) -> dict[str, str]:
        """The environment variables that lead a client to this sandbox. Those in `UNSET` must not be set."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ACCESS_KEY_ID": "AKIASANDBOX000000000",
            "AWS_SECRET_ACCESS_KEY": "sandbox",
            "AWS_REGION": REGION,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
            "NO_PROXY": "127.0.0.1",
            "no_proxy": "127.0.0.1",
        }

    def surroundings(self, environment: Mapping[str, str] = os.environ) -> dict[str, str]:
        """The complete environment for a command to run in the sandbox."""
        return {**{name: value for name, value in environment.items() if name not in UNSET}, **self.environment()}

    # ------------------------------------------------------------ control

    def engine(self, environment: Mapping[str, str] = os.environ) -> dict[str, str]:
        """The environment in which `docker` reaches the machines' engine."""
        host = self.state()["docker"]
        return {**environment, **({"DOCKER_HOST": host} if host else {})}

    def state(self) -> dict[str, Any]:
        """The sandbox's state as JSON: clock, machines, delivered events and more."""
        answer: dict[str, Any] = self._call("GET", "state")
        return answer

    def advance(self, seconds: float) -> None:
        """Move the sandbox's clock forward; due actions have been started when this returns."""
        self._call("POST", "clock", {"seconds": seconds})

    def interrupt(self, run: str, notice_seconds: float = 120) -> list[str]:
        """Interrupt the spot instances of a run (or one instance by id); returns their ids."""
        answer = self._call("POST", "interrupt", {"run": run, "notice_seconds": notice_seconds})
        return list(answer["instances"])

    def refuse(self, instance_type: str = "*", zone: str = "*", market: str = "*", *, code: str = "InsufficientInstanceCapacity") -> None:
        """Let launches in matching pools fail with `code`. `market` is `spot` or `on-demand`."""
        self._call("POST", "refuse", {"instance_type": instance_type, "zone": zone, "market": market, "code": code})

    def allow(self) -> None:
        """Give every pool capacity again."""
        self._call("POST", "allow", {})

    def set_quota(self, code: str, value: float) -> None:
        self._call("POST", "quotas", {"code": code, "value": value})

    def delay(self, seconds: float) -> None:
        """Set how long new roles, profiles, instances and tags of the network stay unseen by other calls; 0 shows them at once."""
        self._call("POST", "delay", {"seconds": seconds})

    def turn_on(self, *rules: str, modes: Iterable[str] = ()) -> None:
        """Turn on rules of `refusals` that do not always hold, each as `name` or `name=amount`, and modes."""
        self._call("POST", "rules", {"on": list(rules), "modes": list(modes)})

    def turn_off(self, *names: str) -> None:
        """Turn off these rules and modes; without a name, every one that does not always hold."""
        self._call("POST", "rules", {"off": list(names)})

    def fault(self, verb: str, message: str = "") -> None:
        """Let `docker pull` or `docker run` (verb) fail on every machine with this message; an empty message clears the fault.

        For `metadata` the message is how many requests for tags a new machine's metadata service fails.
        """
        self._call("POST", "faults", {"verb": verb, "message": message})

    def lead(self, hosts: Mapping[str, tuple[str, int]], authority: str | Path) -> None:
        """Resolve each host for functions to an IP address whose connections reach a local port; `authority` is the CA file for its TLS."""
        self._call("POST", "internet", {"hosts": dict(hosts), "authority": str(authority)})

    def kill_container(self, instance: str, name: str, *, memory: bool = False) -> None:
        """SIGKILL a container; with `memory`, as the kernel does when memory runs out."""
        self._call("POST", f"machines/{instance}/containers/{name}/kill", {"memory": memory})

    def reset(self) -> None:
        """Reset machines, resources, capacity, quotas, faults, delay and rules to those of the start. The clock stays where it is."""
        self._call("POST", "reset", {})

    def console(self, instance: str) -> str:
        return str(self._call("GET", f"console/{instance}")["output"])

    def stop(self, clock: Clock | None = None) -> None:
        """Stop the sandbox and everything in it; returns when its process is gone."""
        with contextlib.suppress(OSError, http.client.HTTPException):
            self._call("POST", "stop", {})
        if not wait_until(lambda: not _alive(self.pid), clock or SystemClock(), limit_seconds=STOP_SECONDS, every_seconds=0.05):
            os.kill(self.pid, signal.SIGKILL)  # its machines notice, and end by themselves
        if child := _CHILDREN.pop(self.pid, None):
            _reap(child)
        if self.folder:
            shutil.rmtree(self.folder, ignore_errors=True)

    def _call(self, method: str, path: str, body: Any = None) -> Any:
        return _call(self.endpoint, method, path, body)


class StartProgress:
    """The progress file of a starting sandbox, passed to `say` line by line."""

    def __init__(self, path: Path, say: Callable[[str], None] | None) -> None:
        self.path, self.say, self.place = path, say, 0

    def tell(self) -> None:
        """Pass on the new lines."""
        if self.say is None or not self.path.exists():
            return
        with self.path.open("rb") as stream:
            stream.seek(self.place)
            data = stream.read()
        whole = data[: data.rfind(b"\n") + 1]
        self.place += len(whole)
        for line in whole.decode(errors="replace").splitlines():
            self.say(line)


_CHILDREN: dict[int, "subprocess.Popen[bytes]"] = {}


def _reap(process: "subprocess.Popen[bytes]") -> None:
    """Wait for an ending process, and close our end of its standard input."""
    process.wait()
    if process.stdin:
        process.stdin.close()


def _alive(pid: int) -> bool:
    if pid in _CHILDREN:
        return _CHILDREN[pid].poll() is None
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def _call(endpoint: str, method: str, path: str, body: Any, seconds: float = 60) -> Any:
    address = urlsplit(endpoint)
    connection = http.client.HTTPConnection(address.hostname or "", address.port, timeout=seconds)
    try:
        connection.request(method, f"/_sandbox/{path}", None if body is None else json.dumps(body), {"Content-Type": "application/json"})
        response = connection.getresponse()
        answer = json.loads(response.read() or b"{}")
    finally:
        connection.close()
    if response.status != 200:
        raise LabError(str(answer.get("error", f"the sandbox answered {response.status}")), "llmlab status")
    return answer


def state_file(environment: Mapping[str, str] = os.environ) -> Path:
    """The state file of the running sandbox: `$XDG_STATE_HOME/llmlab/sandbox.json`."""
    home = environment.get("XDG_STATE_HOME") or Path(environment.get("HOME") or Path.home()) / ".local" / "state"
    return Path(home) / "llmlab" / "sandbox.json"
