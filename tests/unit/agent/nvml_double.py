# ruff: noqa: N802, N815 - the library's own names
"""NVIDIA's management library of a machine with two GPUs that a test can break."""

from typing import Any


class Nvml:
    """NVIDIA's library of a machine with two GPUs; each fact can be an error."""

    NVML_ERROR_TIMEOUT, NVML_ERROR_GPU_IS_LOST, NVML_ERROR_RESET_REQUIRED, NVML_ERROR_UNKNOWN, NVML_ERROR_NOT_SUPPORTED = 10, 15, 16, 999, 3
    NVML_MEMORY_ERROR_TYPE_UNCORRECTED, NVML_VOLATILE_ECC, nvmlEventTypeXidCriticalError = 1, 0, 8

    class NVMLError(Exception):
        def __init__(self, value: int) -> None:
            self.value = value

        def __str__(self) -> str:
            return f"code {self.value}"

    def __init__(self) -> None:
        self.use = [50, 70]
        self.broken: dict[int, int] = {}
        self.memory_errors: int | None = 0
        self.xids: list[int] = []
        self.silent = False

    def nvmlInit(self) -> None: ...

    def nvmlDeviceGetCount(self) -> int:
        return 2

    def nvmlDeviceGetHandleByIndex(self, index: int) -> int:
        return index

    def nvmlDeviceGetUtilizationRates(self, handle: int) -> Any:
        if handle in self.broken:
            raise self.NVMLError(self.broken[handle])
        return type("Rates", (), {"gpu": self.use[handle]})

    def nvmlDeviceGetMemoryInfo(self, handle: int) -> Any:
        return type("Memory", (), {"used": 3 * 1024**3})

    def nvmlDeviceGetTotalEccErrors(self, handle: int, kind: int, since: int) -> int:
        if self.memory_errors is None:
            raise self.NVMLError(self.NVML_ERROR_NOT_SUPPORTED)
        return self.memory_errors

    def nvmlEventSetCreate(self) -> str:
        if self.silent:
            raise self.NVMLError(self.NVML_ERROR_NOT_SUPPORTED)
        return "events"

    def nvmlDeviceRegisterEvents(self, handle: int, kind: int, events: str) -> None: ...

    def nvmlEventSetWait_v2(self, events: str, milliseconds: int) -> Any:
        if not self.xids:
            raise self.NVMLError(self.NVML_ERROR_TIMEOUT)
        return type("Data", (), {"eventData": self.xids.pop(0)})
