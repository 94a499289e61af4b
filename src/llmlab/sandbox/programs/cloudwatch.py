"""Stand-in for amazon-cloudwatch-agent-ctl and its agent, which sends the lines of the log files in its configuration."""

import contextlib
import glob
import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[3]))
from llmlab.sandbox.programs.machine import FOLDER, detach, die

EVERY_SECONDS = 0.5
BATCH = 1000
START_SECONDS = 10
CONFIG = FOLDER / "cloudwatch.json"
PID = FOLDER / "cloudwatch.pid"


def main() -> None:
    words = sys.argv[1:]
    if words == ["_agent"]:
        CloudWatchAgent(json.loads(CONFIG.read_text(encoding="utf-8"))).run()
        return
    options = dict(zip(words, [*words[1:], ""], strict=True))
    action = options.get("-a", "")
    if action == "fetch-config":
        fetch(options.get("-c", ""), start="-s" in words)
    elif action == "stop":
        stop()
    elif action == "status":
        print(json.dumps({"status": "running" if PID.exists() else "stopped"}))  # noqa: T201
    else:
        die(f"amazon-cloudwatch-agent-ctl: unknown action {action}")


def fetch(source: str, *, start: bool) -> None:
    path = Path(source.removeprefix("file:"))
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        die(f"Fail to fetch the config: {error}")
    stop()
    CONFIG.write_text(json.dumps(config), encoding="utf-8")
    if start:
        environment = {name: value for name, value in os.environ.items() if name != "AWS_CONFIG_FILE"}
        environment["AWS_CONFIG_FILE"] = os.devnull
        group = detach([os.environ["SANDBOX_PYTHON"], "-I", __file__, "_agent"], FOLDER / "cloudwatch.log", environment)
        PID.write_text(str(group), encoding="ascii")
        until = time.monotonic() + START_SECONDS
        while time.monotonic() < until and not (FOLDER / f"cloudwatch.{group}.up").exists():
            time.sleep(0.02)  # noqa: TID251 - a program of its own


def stop() -> None:
    """Stop the agent: let it send its remaining lines, and wait for that."""
    if not PID.exists():
        return
    pid = int(PID.read_text(encoding="ascii"))
    PID.unlink()
    try:
        os.kill(pid, signal.SIGTERM)
        until = time.monotonic() + 15
        while time.monotonic() < until and not (FOLDER / f"cloudwatch.{pid}.done").exists():
            os.kill(pid, 0)
            time.sleep(0.05)  # noqa: TID251 - a program of its own
    except (ProcessLookupError, PermissionError):
        return


class CloudWatchAgent:
    """The daemon: it keeps a read position in each file and sends each to a log stream of its own."""

    def __init__(self, config: dict[str, Any]) -> None:
        self.stopping = False
        signal.signal(signal.SIGTERM, self.stop)  # first: a signal that comes while botocore loads must be handled
        (FOLDER / f"cloudwatch.{os.getpid()}.up").touch()

        import botocore.session

        session = botocore.session.Session()
        self.client: Any = session.create_client(
            "logs", region_name=os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or "us-east-1"
        )
        self.files = config.get("logs", {}).get("logs_collected", {}).get("files", {}).get("collect_list", [])
        self.instance = FOLDER.name
        self.places: dict[str, int] = {}
        self.known: set[tuple[str, str]] = set()

    def run(self) -> None:
        while True:
            last = self.stopping
            for item in self.files:
                for path in sorted(glob.glob(item["file_path"])):  # noqa: PTH207 - the pattern is absolute
                    self.send_file(item, path, last=last)
            if last:
                break
            time.sleep(EVERY_SECONDS)  # noqa: TID251 - a program of its own
        (FOLDER / f"cloudwatch.{os.getpid()}.done").touch()

    def stop(self, *_: object) -> None:
        self.stopping = True

    def send_file(self, item: dict[str, Any], path: str, *, last: bool) -> None:
        with Path(path).open("rb") as stream:
            stream.seek(self.places.get(path, 0))
            data = stream.read()
        whole = data if last else data[: data.rfind(b"\n") + 1]
        if not whole:
            return
        now = int(time.time() * 1000)
        lines = [line.rstrip("\r") for line in whole.decode(errors="replace").split("\n")]
        events = [{"timestamp": now, "message": line} for line in lines if line]
        group = item["log_group_name"]
        stream_name = item.get("log_stream_name", "{instance_id}").replace("{instance_id}", self.instance)
        try:
            for start in range(0, len(events), BATCH):
                self.put(group, stream_name, events[start : start + BATCH])
        except Exception as error:  # noqa: BLE001 - the agent stays up and tries again
            print(f"cannot send {path}: {error}", flush=True)  # noqa: T201
            return
        self.places[path] = self.places.get(path, 0) + len(whole)

    def put(self, group: str, stream: str, events: list[dict[str, Any]]) -> None:
        if (group, stream) not in self.known:
            with contextlib.suppress(self.client.exceptions.ResourceAlreadyExistsException):
                self.client.create_log_stream(logGroupName=group, logStreamName=stream)
            self.known.add((group, stream))
        self.client.put_log_events(logGroupName=group, logStreamName=stream, logEvents=events)


if __name__ == "__main__":
    main()
