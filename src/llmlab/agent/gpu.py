"""How busy the GPUs are, through NVIDIA's own library, where the machine has any."""

from dataclasses import dataclass
from typing import Any, Protocol


@dataclass(frozen=True)
class GpuUse:
    """The mean use of all GPUs in percent, and the memory used on all of them together in GiB."""

    percent: float
    memory_gib: float


class Gpus(Protocol):
    def read(self) -> GpuUse | None:
        """None on a machine without a GPU."""
        ...


class NvidiaGpus:
    """nvidia-ml-py; a machine without the driver or the library simply has none."""

    def __init__(self) -> None:
        self._nvml: Any = None
        self._handles: list[Any] = []
        try:
            import pynvml

            pynvml.nvmlInit()
            self._handles = [pynvml.nvmlDeviceGetHandleByIndex(index) for index in range(pynvml.nvmlDeviceGetCount())]
            self._nvml = pynvml
        except Exception:  # noqa: BLE001 - pynvml raises its own error for each way of not having a GPU
            self._handles = []

    def read(self) -> GpuUse | None:
        if not self._handles:
            return None
        try:
            percents = [self._nvml.nvmlDeviceGetUtilizationRates(handle).gpu for handle in self._handles]
            used = sum(self._nvml.nvmlDeviceGetMemoryInfo(handle).used for handle in self._handles)
        except self._nvml.NVMLError:
            return None
        return GpuUse(sum(percents) / len(percents), used / 1024**3)
