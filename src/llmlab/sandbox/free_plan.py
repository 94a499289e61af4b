"""The account's plan, free or paid: AWS's Free Tier API, which moto lacks as a whole.

https://docs.aws.amazon.com/awsaccountbilling/latest/aboutv2/free-tier-plans.html
"""

import re
import sys
from types import ModuleType
from typing import Any

from llmlab.sandbox.completion import answer, kept

SERVICE = "freetier"
PAID, FREE = "PAID", "FREE"
HOSTS = r"https?://freetier\.(.+)\.(amazonaws\.com|api\.aws)"


def install() -> None:
    """Register the service with moto, under the module names that moto looks for."""
    from moto import backend_index
    from moto.core.base_backend import BackendDict, BaseBackend
    from moto.core.responses import BaseResponse

    backend: Any = type("FreeTierBackend", (BaseBackend,), {"__module__": f"moto.{SERVICE}.models"})
    response: Any = type(
        "FreeTierResponse", (BaseResponse,), {"__module__": f"moto.{SERVICE}.responses", "__init__": _begin, "backend": property(_backend)}
    )
    answer(response, "GetAccountPlanState", lambda self, _values: _state(self))
    answer(response, "UpgradeAccountPlan", _upgrade)
    backends = BackendDict(backend, SERVICE, use_boto3_regions=False, additional_regions=["us-east-1"])
    parts = {
        "": {f"{SERVICE}_backends": backends},
        ".models": {f"{SERVICE}_backends": backends},
        ".urls": {"url_bases": [HOSTS], "url_paths": {"{0}/$": response.dispatch}},
    }
    for part, members in parts.items():
        module = ModuleType(f"moto.{SERVICE}{part}")
        vars(module).update(members)
        sys.modules[module.__name__] = module
    backend_index.backend_url_patterns.append((SERVICE, re.compile(HOSTS)))


def _begin(self: Any) -> None:
    from moto.core.responses import BaseResponse

    BaseResponse.__init__(self, service_name=SERVICE)


def _backend(self: Any) -> Any:
    from moto.backends import get_backend

    backends: Any = get_backend(SERVICE)
    return backends[self.current_account]["us-east-1"]


def plan(backend: Any) -> dict[str, Any]:
    """The stored state of the account's plan, to read and to set."""
    return kept(backend, "plan")


def kind(backend: Any) -> str:
    """The account's plan, `FREE` or `PAID`; a new account begins on the free one."""
    from llmlab.sandbox.refusals.switch import holds

    return str(plan(backend).get("type") or (FREE if holds("free-plan") else PAID))


def _state(self: Any) -> dict[str, Any]:
    return {"accountId": self.current_account, "accountPlanType": kind(self.backend), "accountPlanStatus": "ACTIVE"}


def _upgrade(self: Any, values: dict[str, Any]) -> dict[str, Any]:
    plan(self.backend)["type"] = values["accountPlanType"]
    return {"accountId": self.current_account, "accountPlanType": values["accountPlanType"], "accountPlanStatus": "ACTIVE"}
