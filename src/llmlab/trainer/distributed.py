"""Distributed setup: one process per GPU under torchrun, and the collectives between them.

Every process trains its rows of each step; sums are reduced over all of them. `DDP` here is a copy of the model on each GPU whose gradients
are summed once a step; FSDP2 (`fully_shard`) divides the weights layer by layer where a copy would not fit.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from llmlab.contract import Env
from llmlab.trainer.cuda_devices import CudaDevices

WAIT = timedelta(hours=3)
"""How long a process waits for another: the main one turns gigabytes of text into tokens meanwhile, which took 627 s for 5 GB on two cores,
and NCCL's own ten minutes would end all: https://docs.pytorch.org/docs/2.13/distributed.html#torch.distributed.init_process_group"""


@dataclass(frozen=True)
class Processes:
    """This process's place among all processes. `device` is `cpu` or `cuda:N`."""

    rank: int = 0
    world_size: int = 1
    device: str = "cpu"

    @property
    def is_main(self) -> bool:
        return self.rank == 0

    def all_reduce(self, values: list[float]) -> list[float]:
        """Each value summed over all processes."""
        if self.world_size == 1:
            return values
        import torch
        from torch import distributed

        totals = torch.tensor(values, dtype=torch.float64, device=self.device)
        distributed.all_reduce(totals)
        return [float(total) for total in totals]

    def all_reduce_gradients(self, parameters: list[Any]) -> None:
        """Gradients summed over all processes, in place."""
        if self.world_size == 1:
            return
        import torch
        from torch import distributed

        for parameter in parameters:  # a process without a row of its own has none, and takes part all the same
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
        waiting = [distributed.all_reduce(parameter.grad, async_op=True) for parameter in parameters]
        for work in waiting:
            work.wait()

    def broadcast(self, value: Any) -> Any:
        """The main process's value, in every process."""
        if self.world_size == 1:
            return value
        from torch import distributed

        box = [value]
        distributed.broadcast_object_list(box)
        return box[0]

    def barrier(self) -> None:
        """Wait until every process has reached this call."""
        if self.world_size > 1:
            from torch import distributed

            distributed.barrier()


def init(environment: Mapping[str, str], gpus: CudaDevices | None) -> Processes:
    """Join the process group that torchrun describes in the environment, or be the only process; without `gpus` on the CPU."""
    world_size = int(environment.get("WORLD_SIZE", "1"))
    rank, local = int(environment.get("RANK", "0")), int(environment.get("LOCAL_RANK", "0"))
    device = gpus.device(local) if gpus else "cpu"
    if device != "cpu":
        import torch

        torch.cuda.set_device(local)
    if world_size > 1:
        from torch import distributed

        backend = "nccl" if device != "cpu" else "gloo"
        distributed.init_process_group(backend, rank=rank, world_size=world_size, timeout=WAIT, **_bound(device))
    return Processes(rank, world_size, device)


def _bound(device: str) -> dict[str, Any]:
    """Bind the process group to this process's GPU, so that NCCL need not guess which one a barrier is for."""
    import torch

    return {"device_id": torch.device(device)} if device != "cpu" else {}


def destroy(processes: Processes) -> None:
    if processes.world_size > 1:
        from torch import distributed

        distributed.destroy_process_group()


def is_started(environment: Mapping[str, str]) -> bool:
    """Whether torchrun has started this process."""
    return "RANK" in environment


def wanted(environment: Mapping[str, str], gpus: int) -> int:
    """How many processes to start: what the environment says, else one per GPU."""
    requested = environment.get(Env.PROCESSES)
    return max(1, int(requested) if requested else gpus)


def launch(count: int) -> int:
    """Run this program `count` times under torchrun, hand SIGTERM on, and return its exit code.

    They find each other on the loopback: a container without a network has a name that leads nowhere.
    """
    command = [
        sys.executable, "-m", "torch.distributed.run", "--standalone", "--local-addr", "127.0.0.1", "--nproc-per-node", str(count),
        "-m", "llmlab.trainer",
    ]  # fmt: skip
    environment = {**os.environ, "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // count)))}
    with subprocess.Popen(command, env=environment) as child:
        before = signal.signal(signal.SIGTERM, lambda *_: child.send_signal(signal.SIGTERM))
        try:
            return child.wait()
        finally:
            signal.signal(signal.SIGTERM, before)
