"""The line between a command and the account, laid where moto's own stand-in for the network was.

A command is a process forked from the keeper of the account (`keeper`), whose clients send what they would send to AWS over a Unix socket.
"""

import hashlib
import importlib
import os
import pkgutil
import re
import socket
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

import botocore.endpoint
import botocore.exceptions
import botocore.handlers
from botocore.awsrequest import AWSPreparedRequest, AWSResponse
from botocore.compat import HTTPHeaders

from tests import service_models
from tests.conftest import FAKE, REGION, UNSET
from tests.faults.ways import Answer

READING = ("Describe", "Get", "List", "Head", "Simulate", "Filter", "BatchGet")
CHANGING = re.compile(
    r"\d{8}-\d{6}-[a-z0-9]{4}\b|\b(?:vpc|subnet|rtb|igw|sg|lt|vpce|i|eni|rtbassoc|vol|ami|fleet|r|lr|arn)-[0-9a-f-]{8,}\b"
    r"|[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f-]{22}|\d{4}-\d\d-\d\dT[\d:.]+Z?|\b[0-9a-f]{32,64}\b"
)
"""Identities and moments, which differ from one play to the next."""

UNNAMED = {"Body", "Code", "ZipFile", "Metadata"}
"""Parameters that tell no call from another: contents, and the word by which a conditional write knows its own object."""


@dataclass(frozen=True)
class Call:
    """One call of a client as it goes out. `name` tells it from the other calls of its command, whatever their order."""

    name: str
    service: str
    operation: str
    protocol: str
    method: str
    url: str
    headers: tuple[tuple[str, str], ...]
    body: bytes

    @property
    def reads(self) -> bool:
        return self.operation.startswith(READING)


class Line:
    """In a keeper it leads to moto at once, in a command to the keeper. Registered with botocore where moto's own stand-in was."""

    def __init__(self, account: Callable[..., AWSResponse | None]) -> None:
        self.account = account
        self.keeper = ""
        self.number = 0
        self.names: Counter[str] = Counter()
        self.lock = threading.Lock()
        self.here = threading.local()
        self.catalogue: dict[tuple[str, str, bytes], Answer] = {}
        """What the keeper was answered about instance types, by operation, address and body."""

    def name(self, params: Any, model: Any, **_: Any) -> None:
        """A call begins, which may be tried several times."""
        told = f"{model.service_model.service_name}:{model.name}"
        asked = {key: value for key, value in params.items() if key not in UNNAMED}
        text = CHANGING.sub("*", repr(sorted(asked.items())))
        told += f" {hashlib.sha256(text.encode()).hexdigest()[:8]}"
        with self.lock:
            self.names[told] += 1
            number = self.names[told]
        self.here.call = (f"{told} {number}", model.service_model.service_name, model.name, model.service_model.resolved_protocol)

    def __call__(self, request: AWSPreparedRequest, **_: Any) -> AWSResponse | None:
        if not self.keeper:
            return self.account("", request)
        asked: Any = request.body
        body = asked.read() if hasattr(asked, "read") else asked
        body = body.encode() if isinstance(body, str) else body or b""
        headers = tuple((key, value.decode() if isinstance(value, bytes) else str(value)) for key, value in request.headers.items())
        name, service, operation, protocol = self.here.call
        call = Call(name, service, operation, protocol, request.method, request.url, headers, body)
        if not hasattr(self.here, "connection"):
            plug = socket.socket(socket.AF_UNIX)
            plug.connect(self.keeper)
            self.here.connection = Connection(plug.detach())
        self.here.connection.send((self.number, call))
        answer: Answer = self.here.connection.recv()
        if answer.status < 0:
            raise botocore.exceptions.EndpointConnectionError(endpoint_url=request.url)
        if not answer.status:
            raise botocore.exceptions.ConnectionClosedError(endpoint_url=request.url)
        return _response(request.url, answer)


def _response(url: str, answer: Answer) -> AWSResponse:
    from moto.core.botocore_stubber import MockRawResponse

    headers = HTTPHeaders()
    for key, value in answer.headers:
        headers[key] = value
    return AWSResponse(url, answer.status, headers, MockRawResponse(answer.body))


PACKAGES = ("llmlab.aws", "llmlab.commands", "llmlab.dataset", "llmlab.infra", "llmlab.ops", "llmlab.watchdog")


def ready() -> Line:
    """Make this process one that plays: without anybody's credentials and settings, and with the line laid."""
    for name in [*UNSET, *(name for name in os.environ if name.startswith("LLMLAB_"))]:
        os.environ.pop(name, None)
    os.environ.update(FAKE)
    return lay()


def lay() -> Line:
    """Put the line into this process, before its first session, and load what commands would load one by one."""
    from llmlab.sandbox import completion

    service_models.share()
    completion.complete()
    for package in PACKAGES:
        for module in pkgutil.iter_modules(importlib.import_module(package).__path__, f"{package}."):
            importlib.import_module(module.name)
    from moto.core.models import botocore_stubber

    botocore_stubber.enabled = True
    line = Line(botocore_stubber)
    handlers: list[Any] = botocore.handlers.BUILTIN_HANDLERS
    handlers[handlers.index(("before-send", botocore_stubber))] = ("before-send", line)
    handlers.insert(0, ("provide-client-params", line.name))
    service_models.read(REGION)
    _read_moto()
    return line


def _read_moto() -> None:
    """Let forks find what moto reads of a service when it is first asked: of a play of a few seconds that was one."""
    from moto.core.utils import get_service_model

    for service in (*service_models.SERVICES, "resourcegroupstaggingapi"):
        get_service_model(service)


class Impatient:
    """Time as botocore sees it between two tries: its waits are its own, and no argument reaches them."""

    def sleep(self, _seconds: float) -> None:
        return
