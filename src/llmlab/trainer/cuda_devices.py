"""Checks the GPUs: before a training starts, and again when it fails.

PyTorch trains on the processor where CUDA does not start, fifty times as slowly at the GPU's price, and says so in one line. So the
agent says how many GPUs there must be (`WorkFolder.gpus`), each of them computes a matrix product first, and the user reads CUDA's own
words about a failure. `nvidia-smi` may see GPUs that CUDA cannot use (https://github.com/NVIDIA/nvidia-container-toolkit/issues/1967),
and the GPUs on the bus say little either: one that has fallen off the bus is the very failure to detect.

The check runs in a process of its own, because the first use of CUDA takes memory on each GPU for as long as a process lives, and because
CUDA's answers are worthless in a process in which it has failed once:
https://docs.nvidia.com/cuda/cuda-runtime-api/group__CUDART__TYPES.html
"""

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Protocol

from llmlab.contract import Env, WorkFolder
from llmlab.trainer.failures import HardwareFailed

LOOK_SECONDS = 300
"""A GPU that has not computed one product by then will not."""
SIZE = 256
HINT = "llmlab launch --set device=cpu"


@dataclass(frozen=True)
class Look:
    """What CUDA shows: how many GPUs, why it does not start ("" when it does), and by number why a GPU does not compute."""

    count: int
    says: str = ""
    broken: dict[int, str] = field(default_factory=dict)

    def fault(self, wanted: int) -> str:
        """What is wrong when `wanted` GPUs are required (0: at least one); "" when nothing is."""
        if self.says:
            return f"CUDA does not start, and this machine has {gpus_in_words(wanted)}: {self.says}"
        if self.count < max(wanted, 1):
            return f"CUDA shows {self.count} of {gpus_in_words(wanted)}"
        return "; ".join(f"GPU {number} does not compute: {says}" for number, says in sorted(self.broken.items()))


def gpus_in_words(count: int) -> str:
    return f"{count} GPUs" if count > 1 else "1 GPU" if count == 1 else "a GPU"


class CudaDevices(Protocol):
    """The GPUs of this machine as CUDA sees them, or a sandbox's stand-in."""

    def look(self) -> Look: ...

    def device(self, number: int) -> str:
        """PyTorch's name of the GPU with this number."""
        ...


class Cuda:
    """Real GPUs, through CUDA."""

    def look(self) -> Look:
        """Look at the GPUs from a process of its own."""
        command = [sys.executable, "-m", "llmlab.trainer.cuda_devices"]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=LOOK_SECONDS, check=False)
        except subprocess.TimeoutExpired:
            return Look(0, f"it has not answered within {LOOK_SECONDS} s")
        lines = done.stdout.splitlines()
        if done.returncode or not lines:
            words = next((line.strip() for line in reversed(done.stderr.splitlines()) if line.strip()), "")
            return Look(0, words or f"who asked it ended with {done.returncode}")
        return _read(json.loads(lines[-1]))

    def device(self, number: int) -> str:
        return f"cuda:{number}"


@dataclass
class StandIn:
    """Simulated GPUs, which compute on the CPU and show each of `looks` in turn, the last one from then on."""

    looks: Sequence[Look]

    def look(self) -> Look:
        first, *rest = self.looks
        self.looks = rest or [first]
        return first

    def device(self, _number: int) -> str:
        return "cpu"


def of(environment: Mapping[str, str]) -> CudaDevices:
    """The machine's GPUs, or the simulated ones that a sandbox describes: `[{"count": 7}]`."""
    simulated = environment.get(Env.GPUS)
    return StandIn([_read(facts) for facts in json.loads(simulated)]) if simulated else Cuda()


def wanted(work: WorkFolder) -> int:
    """How many GPUs the machine must have; 0 where the agent does not know the type of the instance."""
    try:
        return int(Path(work.gpus).read_text(encoding="ascii"))
    except (OSError, ValueError):
        return 0


def check(gpus: CudaDevices, wanted: int) -> int:
    """Check the GPUs and return how many there are.

    Raises:
        HardwareFailed: fewer than wanted, or one does not compute.
    """
    look = gpus.look()
    if fault := look.fault(wanted):
        raise HardwareFailed(fault, HINT)
    return look.count


def _read(facts: Mapping[str, object]) -> Look:
    broken = facts.get("broken") or {}
    assert isinstance(broken, dict)
    return Look(int(str(facts["count"])), str(facts.get("says", "")), {int(number): str(says) for number, says in broken.items()})


def seen() -> Look:
    """What CUDA shows in this process."""
    import torch

    try:
        torch.cuda.init()  # type: ignore[no-untyped-call]
        count = torch.cuda.device_count()
    except (RuntimeError, AssertionError) as error:  # the latter of a torch without CUDA
        return Look(0, one_line(error))
    broken = {}
    for number in range(count):
        try:
            matrix = torch.ones(SIZE, SIZE, device=f"cuda:{number}")
            if (total := float((matrix @ matrix).sum())) != float(SIZE**3):
                broken[number] = f"a product of ones is {total:g} and not {SIZE**3}"
        except RuntimeError as error:
            if type(error).__name__ != "OutOfMemoryError":  # it is there, and somebody uses it
                broken[number] = one_line(error)
    return Look(count, "", broken)


def one_line(error: BaseException) -> str:
    """CUDA's own first sentence; what follows is advice on debugging."""
    return next((line.strip().rstrip(".") for line in str(error).splitlines() if line.strip()), type(error).__name__)


if __name__ == "__main__":
    sys.stdout.write(json.dumps(asdict(seen())) + "\n")
