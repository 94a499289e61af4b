"""A model of the seconds from a launch to the first step: `python -m benchmarks.start [--assumptions]`.

Nobody has timed a start on EC2 yet, so this is arithmetic: sizes that were measured here, rates that others have published, and the order
in which the machine's script does things. "Before" is commit b99c7f8: everything on a gp3 volume of 125 MB/s, the image's torch one layer
in gzip, and the model from the hub after the image. "After" is this tree: everything on the machine's own NVMe disks, torch in five layers
in zstd, and the agent's own image first, with which the model comes while the training image does, over the same network and onto the same
disks. Both have the same rates. The range of the ratio is what is left when any one of the assumptions is half or one and a half times as
large, on both sides. Prints Markdown; the aim is 0.50.
"""

import argparse
from collections.abc import Mapping
from dataclasses import dataclass

GB = 1000.0
"""In MB."""
BEFORE, AFTER = "before", "after"
AIM = 0.5
SWING = 0.5


@dataclass(frozen=True)
class Assumption:
    """A number that both sides share, its unit, and where it is from."""

    value: float
    unit: str
    source: str


MEASURED = "benchmarks/RESULTS.md"
ASSUMPTIONS = {
    "boot": Assumption(45, "s", "34 s on a c6a.4xlarge, GPU types take longer: github.com/awslabs/amazon-eks-ami/issues/1099"),
    "script": Assumption(6, "s", f"deadline, logs, spec, folders, agent: 2 + 3 s on a machine of the sandbox, {MEASURED}"),
    "engine": Assumption(4, "s", "Docker and containerd stopped and started, folders bound; after alone (tests/docker sees 2 to 4)"),
    "agent": Assumption(3, "s", "the agent's image pulled and started; after alone (tests/docker: less than 200 MB)"),
    "image": Assumption(2730, "MB", "torch and CUDA in gzip, the locked wheels' own sizes: python -m benchmarks.layers"),
    "left out": Assumption(0.937, "of it", "what no training loads is left out: the same command"),
    "rest": Assumption(350, "MB", f"base and the other dependencies in gzip, {MEASURED}"),
    "zstd": Assumption(0.86, "of gzip", f"433 of 504 MB, {MEASURED}; 0.81 at github.com/huggingface/text-generation-inference/pull/2980"),
    "unpacked": Assumption(1.73, "of gzip", "4,725 of 2,730 MB: python -m benchmarks.layers"),
    "connection": Assumption(190, "MB/s", "2.7 GiB in 15 s over one connection to EC2: github.com/containerd/containerd/issues/13559"),
    "connections": Assumption(3, "layers", "dockerd's max-concurrent-downloads: docs.docker.com/reference/cli/dockerd"),
    "gzip": Assumption(97, "MB/s", "2.7 GiB in 30 s by Go's own: github.com/containerd/containerd/issues/13559"),
    "zstd speed": Assumption(333, "MB/s", f"433 MB in 1.3 s, {MEASURED}"),
    "hub": Assumption(300, "MB/s", "github.com/huggingface/huggingface_hub/issues/2658; 635 at github.com/oobabooga/textgen/issues/2841"),
    "gp3": Assumption(125, "MB/s", "without throughput bought: docs.aws.amazon.com/ebs/latest/userguide/general-purpose.html"),
    "nvme": Assumption(400, "MB/s", "written by the smallest of a family, i7i.large: github.com/scylladb/scylla-machine-image/pull/709"),
    "nvme reads": Assumption(577, "MB/s", "read by the same"),
    "imports": Assumption(12, "s", f"torch, transformers and peft in a new container, {MEASURED}"),
    "cached": Assumption(0.5, "of RAM", "what was just written and need not be read from a disk again"),
}  # fmt: skip


@dataclass(frozen=True)
class Machine:
    """`network` in MB/s at its burst, which a new machine has; `disks` times as fast as the smallest; `ram` in MB.

    https://docs.aws.amazon.com/ec2/latest/instancetypes/ac.html
    """

    network: float
    disks: float
    ram: float


MACHINES = {
    "g4dn.xlarge": Machine(25 / 8 * GB, 1, 16 * GB),
    "g5.xlarge": Machine(10 / 8 * GB, 1, 16 * GB),
    "g6.xlarge": Machine(10 / 8 * GB, 1, 16 * GB),
    "g6e.xlarge": Machine(20 / 8 * GB, 1, 32 * GB),
    "p5.48xlarge": Machine(100 / 8 * GB, 8, 2048 * GB),
}
MODELS = {"1.5B": 3.1 * GB, "8B": 16.1 * GB, "70B": 141 * GB}
"""Bytes in 16 bits, as the hub has them."""
PAIRS = (
    ("g4dn.xlarge", "1.5B"), ("g5.xlarge", "1.5B"), ("g5.xlarge", "8B"), ("g6.xlarge", "1.5B"), ("g6.xlarge", "8B"),
    ("g6e.xlarge", "1.5B"), ("g6e.xlarge", "8B"), ("p5.48xlarge", "8B"), ("p5.48xlarge", "70B"),
)  # fmt: skip
Rates = Mapping[str, float]


def rates() -> dict[str, float]:
    return {name: one.value for name, one in ASSUMPTIONS.items()}


def parts(side: str, machine: Machine, model: float, rate: Rates) -> dict[str, float]:
    """Seconds of each part of a start, one after the other."""
    after = side == AFTER
    write = rate["nvme"] * machine.disks if after else rate["gp3"]
    read = rate["nvme reads"] * machine.disks if after else rate["gp3"]
    gone = max(0.0, model - rate["cached"] * machine.ram) / model
    image, comes = _image(machine, write, rate, after=after), model / min(machine.network, rate["hub"], write)
    if after:  # what the image's way leaves of the model's: the slower of the two, and of what they share
        packed, plain = _sizes(rate)
        comes = max(image, comes, (packed + plain + model) / write, (packed + model) / machine.network) - image
    return {
        "boot": rate["boot"],
        "script": rate["script"] + (rate["engine"] + rate["agent"] if after else 0),
        "image": image,
        "model": comes,
        "container": rate["imports"],
        "weights": model * gone / read,
    }


def _image(machine: Machine, write: float, rate: Rates, *, after: bool) -> float:
    """To the last layer unpacked. The engine keeps a layer compressed and unpacked; it unpacks one after another, while others come.

    Before, nine tenths are one layer, which is unpacked when it is there. After, the first of five equal ones is unpacked while the next
    come, so what does not overlap is the first one's way and the slowest of the three ways.
    """
    if not after:
        packed = rate["image"] + rate["rest"]
        comes = packed / min(machine.network, rate["connection"])
        unpacks = packed / rate["gzip"]
        return max(comes + unpacks, packed * (1 + rate["unpacked"]) / write)
    packed, plain = _sizes(rate)
    comes = packed / min(machine.network, rate["connection"] * rate["connections"])
    unpacks = packed / rate["zstd speed"]
    writes = (packed + plain) / write
    return max(comes, unpacks, writes) + min(comes, unpacks) / 5


def _sizes(rate: Rates) -> tuple[float, float]:
    """MB of the image after, packed and not."""
    kept = rate["image"] * rate["left out"] + rate["rest"]
    return kept * rate["zstd"], kept * rate["unpacked"]


def seconds(side: str, machine: Machine, model: float, rate: Rates) -> float:
    return sum(parts(side, machine, model, rate).values())


def ratio(machine: Machine, model: float, rate: Rates) -> float:
    return seconds(AFTER, machine, model, rate) / seconds(BEFORE, machine, model, rate)


def swung(machine: Machine, model: float) -> tuple[float, float]:
    """The least and the largest ratio with any one assumption half or one and a half times as large."""
    plain = rates()
    found = [ratio(machine, model, {**plain, name: value * factor}) for name, value in plain.items() for factor in (1 - SWING, 1 + SWING)]
    return min(found), max(found)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--assumptions", action="store_true", help="each number and where it is from, too")
    shown = parser.parse_args().assumptions
    names = ("boot", "script", "image", "model", "container", "weights")
    print(f"| type, model | | {' | '.join(names)} | seconds | ratio | each ± 50 % |")
    print(f"|---|---|{'---:|' * (len(names) + 3)}")
    for name, model in PAIRS:
        machine, size = MACHINES[name], MODELS[model]
        low, high = swung(machine, size)
        found = ratio(machine, size, rates())
        for side in (BEFORE, AFTER):
            took = parts(side, machine, size, rates())
            words = f"{found:.2f}{'' if found <= AIM else ', not met'} | {low:.2f} to {high:.2f}" if side == AFTER else " | "
            cells = " | ".join(f"{took[part]:.0f}" for part in names)
            print(f"| {f'{name}, {model}' if side == BEFORE else ''} | {side} | {cells} | {sum(took.values()):.0f} | {words} |")
    if shown:
        print("\n| assumption | | unit | source |\n|---|---:|---|---|")
        for name, one in ASSUMPTIONS.items():
            print(f"| {name} | {one.value:g} | {one.unit} | {one.source} |")


if __name__ == "__main__":
    main()
