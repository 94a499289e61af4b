"""The AWS calls that the lab uses and moto lacks: `complete()` patches moto 5.2.5 in this process, once.

Each answer is a method set on moto's own response class, so that it works under `mock_aws` and over the server alike. Its state lies on
moto's backends, so that their reset clears it. The price: this knows moto's insides, and moto is pinned to one version. The gaps
themselves are filled in `completion_*.py`, by service.
"""

import functools
import importlib
import os
from collections.abc import Callable
from threading import RLock
from typing import Any

from llmlab.sandbox import quick_start

Answer = Callable[[Any, dict[str, Any]], Any]
"""Handler of a call: moto's response object and the call's parameters → the answer's members, or one of moto's own results."""

LOCK = RLock()
"""Lock held during every call, because moto's models iterate over collections that other threads change."""

SETTINGS = {
    "MOTO_EC2_ENABLE_INSTANCE_TYPE_VALIDATION": "1",
    "MOTO_ENABLE_AMI_VALIDATION": "1",
    "MOTO_EC2_LOAD_DEFAULT_AMIS": "false",
    "MOTO_ENABLE_KEYPAIR_VALIDATION": "",
}
UNLOCKED = {"invoke", "invoke_async"}
"""Calls that run a Lambda handler, which calls this server back: they must not hold `LOCK`."""
MODULES = (
    "completion_storage",
    "completion_compute",
    "completion_fleet",
    "completion_money",
    "completion_prices",
    "completion_identity",
    "completion_lambda",
    "completion_fis",
    "completion_registry",
    "free_plan",
    "completion_scheduler",
    "completion_repeats",
    "completion_sessions",
    "completion_delays",
)

_done = False


def complete() -> None:
    """Patch moto in this process. A second call does nothing."""
    global _done  # noqa: PLW0603 - once a process, like the import it follows
    with LOCK:
        if _done:
            return
        os.environ.update(SETTINGS)
        quick_start.prepare()
        for module in MODULES:
            importlib.import_module(f"llmlab.sandbox.{module}").install()
        _serialize_calls()
        _done = True


def answer(response_class: type, operation: str, handler: Answer) -> None:
    """Let `handler` answer `operation` (as in the service model, e.g. `CreateFleet`) of a moto response class."""
    from moto.core.responses import ActionResult
    from moto.core.utils import camelcase_to_underscores

    def method(self: Any) -> Any:
        result = handler(self, parameters(self))
        return ActionResult(result) if isinstance(result, dict) else result

    setattr(response_class, camelcase_to_underscores(operation), method)


def parameters(response: Any) -> dict[str, Any]:
    """The parameters of the call that `response` is answering, as the SDK was given them."""
    if not response.automated_parameter_parsing:
        response.parse_parameters(response.normalized_request)
    values: dict[str, Any] = plain(response.params)
    return values


def plain(value: Any) -> Any:
    """Convert moto's case-insensitive mappings to ordinary dicts, recursively."""
    if hasattr(value, "original_dict"):
        value = value.original_dict()
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [plain(item) for item in value]
    return value


def replace_parameters(response: Any, values: dict[str, Any]) -> None:
    """Replace the parameters of a call, so that moto's own method answers as if the call had carried `values`."""
    response.params = response.PROTOCOL_PARSER_MAP_TYPE(values)


def kept(backend: Any, name: str) -> dict[Any, Any]:
    """A dict of the sandbox's own state on a moto backend, which the backend's reset clears."""
    state: dict[Any, Any] = vars(backend).setdefault(f"_llmlab_{name}", {})
    return state


def fail(code: str, message: str) -> Exception:
    """The exception that moto turns into an AWS error of this code."""
    return _failure_class()(code, message)


@functools.cache
def _failure_class() -> type[Exception]:
    from moto.core.exceptions import ServiceException

    class Failure(ServiceException):  # type: ignore[misc]
        """The error class is defined in the sandbox's module, so that moto looks its code up in the service that was called."""

    return Failure


def _serialize_calls() -> None:
    import moto.core.responses as core
    from moto.core import errors
    from moto.core.utils import camelcase_to_underscores
    from moto.s3.responses import S3Response

    from llmlab.sandbox.refusals import checking
    from llmlab.sandbox.refusals.table import ROWS

    errors.COMMON_ERROR_CODES = [*errors.COMMON_ERROR_CODES, *(rule.code for rule in ROWS)]  # many of them are in no service model
    core.method_names_from_class = functools.lru_cache(maxsize=None)(core.method_names_from_class)
    call_action = core.BaseResponse.call_action

    def locked_call(self: Any) -> Any:
        if camelcase_to_underscores(self._get_action() or "") in UNLOCKED:
            return call_action(self)
        with LOCK:
            return checking.checked(self, call_action)

    core.BaseResponse.call_action = locked_call
    for name in ("_bucket_response", "_key_response"):
        setattr(S3Response, name, _locked(getattr(S3Response, name), checking.checked_s3))


def _locked(function: Callable[..., Any], checked: Callable[[Any, Callable[[], Any]], Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def locked(self: Any, *arguments: Any) -> Any:
        with LOCK:
            return checked(self, lambda: function(self, *arguments))

    return locked
