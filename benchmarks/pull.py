"""What a machine waits for the training image: from `docker pull` to `import torch` done, cold, and what would change it.

    llmlab sandbox exec --machine docker -- python -m benchmarks.pull [--rounds 3]

On a machine that boots and keeps its engine: a pull with the unpacker that Docker has in itself, and with pigz, which it takes when it is
installed (https://docs.docker.com/engine/release-notes/17.12/); the import after each; and what share of the image's bytes the import reads
from the disk, which is the least that a lazy pull (SOCI) would have to fetch before training. Prints Markdown.
"""

import argparse
import itertools
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from typing import Any

from benchmarks.machine import account, llmlab
from llmlab.clock import SystemClock, wait_until
from llmlab.contract import RunKeys
from llmlab.sandbox.server import Sandbox

STEPS = (
    "sandbox model tiny",
    "sandbox data data --rows 50",
    "bootstrap --yes --email you@example.com",
    "upload data --name demo",
    "upload tiny --model tiny",
    "launch --yes --recipe sandbox --data demo --spot --max-hours 1 --set epochs=1 --no-auto-shutdown",
)
END_SECONDS = 300
PULL = """
set -euo pipefail
mkdir -p /etc/systemd/system/docker.service.d
printf '[Service]\\nEnvironment=%s\\n' "$2" > /etc/systemd/system/docker.service.d/pull.conf
systemctl daemon-reload
docker ps --all --quiet | xargs --no-run-if-empty docker rm --force > /dev/null
docker image rm --force "$(docker image ls --quiet)" > /dev/null 2>&1 || true
systemctl restart docker
registry="${1%%/*}"
region="$(cut -d . -f 4 <<< "$registry")"
aws ecr get-login-password --region "$region" | docker login --username AWS --password-stdin "$registry" > /dev/null 2>&1
sync
stamp() { date +%s.%N; }
a=$(stamp); docker pull --quiet "$1" > /dev/null; b=$(stamp)
docker run --rm "$1" python -c 'import torch'; c=$(stamp)
docker run --rm "$1" python -c "$3"; d=$(stamp)
echo "$a $b $c $d"
"""
"""The image, a setting of the engine's environment, and what is imported last; the moments before and after each step."""
READ = """
import os, pathlib, subprocess, sys
image, command = sys.argv[1:]
subprocess.run(["sync"], check=True)
files = [path for path in pathlib.Path("/var/lib/docker/overlay2").glob("*/diff/**/*") if path.is_file() and not path.is_symlink()]
for path in files:
    with path.open("rb") as stream:
        os.posix_fadvise(stream.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
def kept():
    sums = 0
    for start in range(0, len(files), 500):
        listed = [str(path) for path in files[start:start + 500]]
        out = subprocess.run(["fincore", "--bytes", "--noheadings", "--output", "RES", *listed], capture_output=True, text=True).stdout
        sums += sum(map(int, out.split()))
    return sums
before = kept()
subprocess.run(["docker", "run", "--rm", image, "python", "-c", command], check=True)
print(sum(path.stat().st_size for path in files), kept() - before)
"""
"""Bytes of all layers, and those that a command brought into memory; the kernel reads ahead, so it is an upper figure."""
IMPORT = "import torch, transformers, peft"
WAYS = {"Docker's own unpacker": "MOBY_DISABLE_PIGZ=1", "pigz": "NOTHING=1"}


class Machine:
    """The instance of a run, in the sandbox's engine."""

    def __init__(self, identity: str) -> None:
        found = Sandbox.find()
        self.environment = found.engine() if found else dict(os.environ)
        self.name = f"llmlab-{identity}"

    def run(self, *command: str, stdin: str = "") -> str:
        """As root on the machine."""
        words = ["docker", "exec", "--interactive", self.name, *command]
        answer = subprocess.run(words, env=self.environment, input=stdin, capture_output=True, text=True, check=False)
        if answer.returncode:
            sys.exit(f"{command[0]} on the machine ended with {answer.returncode}: {answer.stderr[-2000:]}")
        return answer.stdout


def trained() -> tuple[Any, str]:
    """A machine whose run is over, and the image it ran."""
    for line in STEPS:
        llmlab(line)
    aws = account()
    instance = aws.ec2.describe_instances()["Reservations"][-1]["Instances"][0]
    run = next(tag["Value"] for tag in instance["Tags"] if tag["Key"] == "Run")

    def over() -> bool:
        names = aws.s3.list_objects_v2(Bucket=aws.names.outputs_bucket, Prefix=RunKeys(run).success)
        return bool(names["KeyCount"])

    if not wait_until(over, SystemClock(), limit_seconds=END_SECONDS):
        sys.exit(f"{run} was not over after {END_SECONDS} s")
    spec = json.loads(aws.s3.get_object(Bucket=aws.names.outputs_bucket, Key=RunKeys(run).spec)["Body"].read())
    return Machine(instance["InstanceId"]), spec["image"]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    rounds = parser.parse_args().rounds
    with tempfile.TemporaryDirectory(prefix="llmlab-pull-") as name:
        os.chdir(name)
        machine, image = trained()
        took: dict[str, list[list[float]]] = {way: [] for way in WAYS}
        for _ in range(rounds):
            for way, setting in WAYS.items():
                moments = [float(word) for word in machine.run("bash", "-s", image, setting, IMPORT, stdin=PULL).split()[-4:]]
                took[way].append([after - before for before, after in itertools.pairwise(moments)])
                sys.stderr.write(f"{time.strftime('%H:%M:%S')} {way}: {took[way][-1]}\n")
        whole, read = (int(word) for word in machine.run("python3", "-", image, IMPORT, stdin=READ).split()[-2:])
        llmlab("teardown --everything --yes --confirm llm-tuning-lab")
        os.chdir("/")
    print("| medians, seconds | pull | `import torch`, first container | with transformers and peft, second | in all |")
    print("|---|---:|---:|---:|---:|")
    for way, rows in took.items():
        columns = [statistics.median(column) for column in zip(*rows, strict=True)]
        print(f"| {way} | {' | '.join(f'{value:.1f}' for value in (*columns, sum(columns)))} |")
    print(f"\n`{IMPORT}` reads {read / 1e6:.0f} of {whole / 1e6:.0f} MB of the image: {read / whole:.0%}.")


if __name__ == "__main__":
    main()
