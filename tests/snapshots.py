"""What moto holds in this process, kept and put back: a copy of a lab is there in 10 ms, where making it takes a second."""

import copyreg
import io
import pickle
import threading
from types import FunctionType
from typing import Any
from weakref import WeakValueDictionary

SHARED = (type(threading.Lock()), type(threading.RLock()), FunctionType)
"""What is the same in every copy, beside the services, which moto's modules hold."""


class Snapshot:
    """Every service's resources in each account and region as they are when it is taken, in bytes: no later change reaches them."""

    def __init__(self) -> None:
        from moto.core.base_backend import BackendDict

        self._services: list[BackendDict[Any]] = list(BackendDict._instances)
        self._shared: list[Any] = []
        written = io.BytesIO()
        _Pickler(written, self._shared).dump([(dict(service), vars(service)) for service in self._services])
        self._written = written.getvalue()

    def put_back(self) -> None:
        """Instead of everything that moto holds now."""
        from moto.core.base_backend import BackendDict

        BackendDict.reset()
        for service, (accounts, attributes) in zip(self._services, _Unpickler(self._written, self._shared).load(), strict=True):
            service.update(accounts)
            vars(service).update(attributes)
            BackendDict._instances.append(service)


class _Pickler(pickle.Pickler):
    """Writes what is shared as a number, its place in `shared`."""

    def __init__(self, file: io.BytesIO, shared: list[Any]) -> None:
        super().__init__(file)
        self._shared = shared
        self.dispatch_table = {**copyreg.dispatch_table, WeakValueDictionary: lambda value: (WeakValueDictionary, (dict(value),))}

    def persistent_id(self, value: Any) -> int | None:
        from moto.core.base_backend import BackendDict

        if not isinstance(value, (BackendDict, *SHARED)):
            return None
        self._shared.append(value)
        return len(self._shared) - 1


class _Unpickler(pickle.Unpickler):
    def __init__(self, written: bytes, shared: list[Any]) -> None:
        super().__init__(io.BytesIO(written))
        self._shared = shared

    def persistent_load(self, number: Any) -> Any:
        return self._shared[number]
