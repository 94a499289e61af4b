"""How busy the GPUs are and whether one has failed, through NVIDIA's own library, where the machine has any."""

from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Protocol

HARDWARE_XIDS = {
    48: "an uncorrectable memory error",
    64: "a row of memory that could not be replaced",
    74: "an NVLink error",
    79: "the GPU has fallen off the bus",
    94: "a contained memory error",
    95: "an uncontained memory error",
    119: "the GPU's processor does not answer",
    120: "the GPU's processor has failed",
    140: "an unrecovered memory error",
}
"""The driver's error numbers behind which is the hardware; 13, 31, 43 and 45 are a program's own fault, and others are only told.
https://docs.nvidia.com/deploy/xid-errors/analyzing-xid-catalog.html"""


@dataclass(frozen=True)
class GpuUse:
    """The mean use of all GPUs in percent, and the memory used on all of them together in GiB."""

    percent: float
    memory_gib: float


@dataclass(frozen=True)
class Fault:
    """What is wrong with a GPU. Not `certain` when it just does not answer, which passes or shows in a training that stands still."""

    says: str
    certain: bool = True


class Gpus(Protocol):
    def read(self) -> GpuUse | None:
        """None on a machine without a GPU, and where the driver does not answer."""
        ...

    def fault(self) -> Fault | None:
        """What has gone wrong by now; None on a machine without a GPU."""
        ...


class NvidiaGpus:
    """nvidia-ml-py; a machine without the driver or the library simply has none. `nvml` is that library."""

    def __init__(self, nvml: Any = None) -> None:
        self._nvml: Any = None
        self._handles: list[Any] = []
        self._events: Any = None
        self._xid: int | None = None
        try:
            if nvml is None:
                import pynvml

                nvml = pynvml
            nvml.nvmlInit()
            self._handles = [nvml.nvmlDeviceGetHandleByIndex(index) for index in range(nvml.nvmlDeviceGetCount())]
            self._nvml = nvml
        except Exception:  # noqa: BLE001 - pynvml raises its own error for each way of not having a GPU
            self._handles = []
        if self._handles:
            self._listen()

    def read(self) -> GpuUse | None:
        if not self._handles:
            return None
        try:
            percents = [self._nvml.nvmlDeviceGetUtilizationRates(handle).gpu for handle in self._handles]
            used = sum(self._nvml.nvmlDeviceGetMemoryInfo(handle).used for handle in self._handles)
        except self._nvml.NVMLError:
            return None
        return GpuUse(sum(percents) / len(percents), used / 1024**3)

    def fault(self) -> Fault | None:
        self._hear()
        if self._xid is not None:
            return Fault(f"{HARDWARE_XIDS[self._xid]} (Xid {self._xid})")
        for index, handle in enumerate(self._handles):
            if fault := self._fault_of(index, handle):
                return fault
        return None

    def _fault_of(self, index: int, handle: Any) -> Fault | None:
        """What NVML says of one GPU; some kinds do not count memory errors, which says nothing."""
        nvml = self._nvml
        try:
            nvml.nvmlDeviceGetUtilizationRates(handle)
        except nvml.NVMLError as error:
            lost = error.value in {nvml.NVML_ERROR_GPU_IS_LOST, nvml.NVML_ERROR_RESET_REQUIRED}
            return Fault(f"GPU {index}: {error}", certain=lost)
        with suppress(nvml.NVMLError):
            errors = nvml.nvmlDeviceGetTotalEccErrors(handle, nvml.NVML_MEMORY_ERROR_TYPE_UNCORRECTED, nvml.NVML_VOLATILE_ECC)
            if errors > 0:
                return Fault(f"GPU {index}: {errors} uncorrectable memory errors since it was started")
        return None

    def _listen(self) -> None:
        """Subscribe to the driver's errors; GPUs of a driver without such events are read all the same."""
        nvml = self._nvml
        try:
            events = nvml.nvmlEventSetCreate()
            for handle in self._handles:
                nvml.nvmlDeviceRegisterEvents(handle, nvml.nvmlEventTypeXidCriticalError, events)
        except nvml.NVMLError:
            return
        self._events = events

    def _hear(self) -> None:
        """Every error that has come since the last time; the wait ends with an error of its own when there is none."""
        if self._events is None:
            return
        with suppress(self._nvml.NVMLError):
            while self._xid is None:
                number = int(self._nvml.nvmlEventSetWait_v2(self._events, 0).eventData)
                self._xid = number if number in HARDWARE_XIDS else None
