"""The whole way on a machine that boots: bootstrap → upload → launch → status → logs → fetch → teardown, with the wall time of each.

    llmlab sandbox exec --machine docker -- python -m benchmarks.machine      (`make e2e`)

Then the life of the instance by phase, from what it logged itself, and what share of it was training. Prints Markdown.
"""

import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

STEPS = (
    "bootstrap --yes --email you@example.com",
    "sandbox model tiny",
    "sandbox data data --rows 400",
    "upload tiny --model tiny",
    "upload data --name demo",
    "launch --recipe sandbox --data demo --spot --max-hours 1",
    "status",
    "logs latest -f",
    "status latest",
    "fetch latest",
    "logs latest --stream setup",
)
LAST = "teardown --yes"
STAMPED = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ) (.*)")
PHASE = re.compile(r"([a-z ]+): (\d+) s$")
GONE_SECONDS = 120


def llmlab(line: str) -> tuple[str, float]:
    """One command as the user types it: what it wrote to standard output, and its seconds."""
    began = time.monotonic()
    answer = subprocess.run([sys.executable, "-m", "llmlab", *line.split()], stdout=subprocess.PIPE, text=True, check=False)
    seconds = time.monotonic() - began
    sys.stderr.write(f"$ llmlab {line}\n{answer.stdout}")
    if answer.returncode:
        sys.exit(f"llmlab {line} ended with {answer.returncode}")
    return answer.stdout, seconds


def instance(run: str, until_gone: bool) -> tuple[dict[str, Any], datetime]:
    """The run's instance, and when it was seen so; at most a fifth of a second later than it was."""
    from llmlab.aws.session import Aws
    from llmlab.contract import PROJECT

    ec2: Any = Aws("us-east-1", lab=PROJECT).ec2
    limit = time.monotonic() + GONE_SECONDS
    while True:
        found = ec2.describe_instances(Filters=[{"Name": "tag:Run", "Values": [run]}])["Reservations"][0]["Instances"][0]
        if not until_gone or found["State"]["Name"] == "terminated" or time.monotonic() > limit:
            return found, datetime.now(UTC)
        time.sleep(0.2)


def phases(setup: str, training: datetime, first_step: datetime, launched: datetime, gone: datetime) -> Iterator[tuple[str, float]]:
    """Name and seconds of each part of an instance's life, in order, from its own setup log (whole seconds)."""
    lines = [(datetime.fromisoformat(found[1]), found[2]) for found in map(STAMPED.match, setup.splitlines()) if found]
    took = {found[1]: float(found[2]) for _, text in lines if (found := PHASE.match(text))}
    began = next(at for at, text in lines if text.startswith("run "))
    trained = next(at for at, text in lines if text.startswith("training: "))
    ended = next(at for at, text in lines if text.startswith("the end"))
    yield "boot: from the launch to the user data", (began - launched).total_seconds()
    yield "deadline, logs, spec, folders", sum(took.get(name, 0) for name in ("identity", "deadline", "logs", "spec", "folders"))
    yield "image and data", took["image and data"]
    yield "— the image alone: login, pull, unpack", took["image"]
    yield "— the data and the model alone", took["data"] + took.get("model", 0)
    yield "agent: data and checkpoint checked", took["agent"]
    yield "training container: torch, model, data, until the first step", (first_step - training).total_seconds()
    yield "training: the first step to the last", (trained - first_step).total_seconds()
    yield "last sync and marker", took["upload"]
    yield "power-off, until the API says terminated", (gone - ended).total_seconds()
    yield "the whole life", (gone - launched).total_seconds()


def logged(run: str) -> tuple[str, datetime, datetime]:
    """The setup log as CloudWatch has it, and when the training container began and did its first step."""
    from llmlab.aws.session import Aws
    from llmlab.contract import PROJECT, LogStream
    from llmlab.ops import logs

    lines = logs.read(Aws("us-east-1", lab=PROJECT), run)
    setup = [line for line in lines if line.stream == LogStream.SETUP and line.at]
    stamp = "{:%Y-%m-%dT%H:%M:%SZ} {}"
    began = next(line.at for line in setup if line.at and line.text.startswith("training container: "))
    first = next(line.at for line in lines if line.at and line.stream == LogStream.TRAINING and line.text.startswith("step 1/"))
    return "\n".join(stamp.format(line.at, line.text) for line in setup), began, first


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="llmlab-e2e-") as name:
        import os

        os.chdir(name)
        seconds = {}
        for line in STEPS:
            out, seconds[line] = llmlab(line)
            if line.startswith("launch"):
                found = re.search(r"\d{8}-\d{6}-[a-z0-9]{4}", out)
                run = found[0] if found else sys.exit("launch named no run")
            if line.startswith("logs latest -f"):
                one, gone = instance(run, until_gone=True)
        setup, began, first = logged(run)
        adapters = [str(path) for path in Path.cwd().glob("outputs/**/adapter_model.safetensors")]
        _, seconds[LAST] = llmlab(LAST)
    if not adapters:
        sys.exit("no adapter came back")
    rows = list(phases(setup, began, first, one["LaunchTime"], gone))
    life, training = rows[-1][1], next(value for name, value in rows if name.startswith("training: "))
    print("| command | seconds |\n|---|---:|")
    print("\n".join(f"| `llmlab {line}` | {value:.1f} |" for line, value in seconds.items()))
    print("\n| the instance's life | seconds | share |\n|---|---:|---:|")
    print("\n".join(f"| {name} | {value:.1f} | {value / life:.0%} |" for name, value in rows))
    print(f"\ntraining was {training / life:.0%} of {timedelta(seconds=round(life))}")


if __name__ == "__main__":
    main()
