"""The whole way on a machine that boots, from an empty folder to nothing left, with the wall time of each command.

    llmlab sandbox exec --machine docker -- python -m benchmarks.machine      (`make e2e` has it as a test)

Then the life of the instance by phase, from what it logged itself, what share of it was training, and which phases EC2 has too.
Prints Markdown.
"""

import os
import re
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from llmlab.commands import demo
from llmlab.errors import ExitCode

FOLLOWED = "logs latest -f"
LAUNCH = next(line for line in demo.BEFORE if line.startswith("launch"))
STEPS = (
    *demo.BEFORE[: demo.BEFORE.index(LAUNCH)],
    LAUNCH.replace(" --wait", ""),
    FOLLOWED,
    *demo.BEFORE[demo.BEFORE.index(LAUNCH) + 1 :],
    "connect latest",
    "try latest 'Hello' --max-tokens 8",
    "logs latest --stream setup",
    *demo.AFTER,
)
"""The demo's, with the run's log followed to its end, which is when the instance goes."""
NOT_ZERO = {**demo.NOT_ZERO, "connect": (ExitCode.FAILED, ExitCode.REFUSED)}
"""Nobody can be connected to a machine that is gone."""
STAMPED = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ) (.*)")
PHASE = re.compile(r"([a-z -]+): (\d+) s$")
GONE_SECONDS = 120
HOUR = 3600
TRAINING = "training: the first step to the last"


@dataclass(frozen=True)
class Phase:
    """A part of an instance's life. `on_ec2` says what of it there is there; `part` is one that others contain."""

    name: str
    seconds: float
    on_ec2: str
    part: bool = False


def llmlab(line: str) -> tuple[str, float]:
    """One command as the user types it: what it wrote to standard output, and its seconds."""
    began = time.monotonic()
    words = shlex.split(line)
    answer = subprocess.run([sys.executable, "-m", "llmlab", *words], stdout=subprocess.PIPE, text=True, check=False)
    seconds = time.monotonic() - began
    sys.stderr.write(f"$ llmlab {line}\n{answer.stdout}")
    if answer.returncode not in NOT_ZERO.get(words[0], (ExitCode.DONE,)):
        sys.exit(f"llmlab {line} ended with {answer.returncode}")
    return answer.stdout, seconds


def account() -> Any:
    """The lab that the commands are led to, by the environment."""
    from llmlab.aws.session import Aws
    from llmlab.contract import PROJECT, Env

    return Aws("us-east-1", lab=os.environ.get(Env.LAB, PROJECT))


def instance(run: str, until_gone: bool) -> tuple[dict[str, Any], datetime]:
    """The run's instance, and when it was seen so; at most a fifth of a second later than it was."""
    ec2: Any = account().ec2
    limit = time.monotonic() + GONE_SECONDS
    while True:
        found = ec2.describe_instances(Filters=[{"Name": "tag:Run", "Values": [run]}])["Reservations"][0]["Instances"][0]
        if not until_gone or found["State"]["Name"] == "terminated" or time.monotonic() > limit:
            return found, datetime.now(UTC)
        time.sleep(0.2)


def phases(setup: str, training: datetime, first_step: datetime, launched: datetime, gone: datetime) -> Iterator[Phase]:
    """Each part of an instance's life, in order, from its own setup log (whole seconds)."""
    lines = [(datetime.fromisoformat(found[1]), found[2]) for found in map(STAMPED.match, setup.splitlines()) if found]
    took = {found[1]: float(found[2]) for _, text in lines if (found := PHASE.match(text))}
    began = next(at for at, text in lines if text.startswith("run "))
    trained = next(at for at, text in lines if text.startswith("training: "))
    ended = next(at for at, text in lines if text.startswith("the end"))
    early = sum(took.get(name, 0) for name in ("identity", "deadline", "logs", "spec", "folders"))
    yield Phase("boot: from the launch to the user data", (began - launched).total_seconds(), "yes, of a whole system on a new disk")
    yield Phase("deadline, logs, spec, folders", early, "yes")
    yield Phase("engine and the agent's image", took["image and data"], "yes")
    yield Phase("— the agent's image alone", took["agent-image"], "", part=True)
    yield Phase("agent: data and model, while the image comes", took["agent"], "yes; the CUDA image is larger, the network faster")
    yield Phase("— the image alone: login, pull, unpack", took["image"], "", part=True)
    yield Phase("training container: torch, model, data, until the first step", (first_step - training).total_seconds(), "yes")
    yield Phase(TRAINING, (trained - first_step).total_seconds(), "what is paid for")
    yield Phase("last sync and marker", took["upload"], "yes")
    yield Phase("power-off, until the API says terminated", (gone - ended).total_seconds(), "yes, and not billed once it is shutting down")


def told(rows: list[Phase], seconds: dict[str, float]) -> Iterator[str]:
    """The tables, as Markdown."""
    life = sum(one.seconds for one in rows if not one.part)
    training = next(one.seconds for one in rows if one.name == TRAINING)
    yield "| command | seconds |\n|---|---:|"
    yield from (f"| `llmlab {line}` | {value:.1f} |" for line, value in seconds.items())
    yield "\n| the instance's life | seconds | share | on EC2 too |\n|---|---:|---:|---|"
    yield from (f"| {one.name} | {one.seconds:.1f} | {one.seconds / life:.0%} | {one.on_ec2} |" for one in rows)
    yield f"| the whole life | {life:.1f} | 100% | |"
    rest = life - training
    yield f"\nTraining was {training / life:.0%} of {timedelta(seconds=round(life))}; the other {rest:.0f} s do not grow with it: they"
    yield f"are {rest / (rest + HOUR):.1%} of a run that trains for an hour, {rest / (rest + 4 * HOUR):.1%} of one that trains for four."


def logged(run: str) -> tuple[str, datetime, datetime]:
    """The setup log as CloudWatch has it, and when the training container began and did its first step."""
    from llmlab.contract import LogStream
    from llmlab.ops import logs

    lines = logs.read(account(), run, logs.LogQuery(plumbing=True))
    setup = [line for line in lines if line.stream == LogStream.SETUP and line.at]
    stamp = "{:%Y-%m-%dT%H:%M:%SZ} {}"
    began = next(line.at for line in setup if line.at and line.text.startswith("training container: "))
    first = next(line.at for line in lines if line.at and line.stream == LogStream.TRAINING and line.text.startswith("step 1/"))
    return "\n".join(stamp.format(line.at, line.text) for line in setup), began, first


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="llmlab-e2e-") as name:
        os.chdir(name)
        seconds, run = {}, ""
        for line in STEPS:
            if line in demo.AFTER:
                setup, began, first = logged(run)
            out, seconds[line] = llmlab(line)
            if line.startswith("launch"):
                found = re.search(r"\d{8}-\d{6}-[a-z0-9]{4}", out)
                run = found[0] if found else sys.exit("launch named no run")
            if line == FOLLOWED:
                one, gone = instance(run, until_gone=True)
        adapters = [str(path) for path in Path.cwd().glob("outputs/**/adapter_model.safetensors")]
        os.chdir("/")
    if not adapters:
        sys.exit("no adapter came back")
    print("\n".join(told(list(phases(setup, began, first, one["LaunchTime"], gone)), seconds)))


if __name__ == "__main__":
    main()
