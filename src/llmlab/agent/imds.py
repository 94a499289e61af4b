"""The instance metadata service, version 2: instance id, type, zone, and spot interruption notices.

https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/instancedata-data-retrieval.html
"""

import http.client
import json
import urllib.request
from datetime import UTC, datetime
from typing import Protocol
from urllib.error import HTTPError

from llmlab.clock import Clock

ADDRESS = "http://169.254.169.254"
TIMEOUT_SECONDS = 2.0
TOKEN_SECONDS = 21600
TRIES = 5
PAUSE_SECONDS = 1.0
MOST_BYTES = 64 << 10
"""An answer is a word or a small document."""


class Imds(Protocol):
    """The instance metadata that the agent reads."""

    def interruption(self) -> datetime | None:
        """When AWS takes this spot instance back; None as long as it has not said so, or does not answer."""
        ...

    def instance(self) -> str:
        """The instance id, "" when IMDS does not answer."""
        ...

    def place(self) -> tuple[str, str]:
        """The instance type and the zone."""
        ...


class HttpImds:
    """IMDS over HTTP. A proxy of the environment is never asked: the address is local to the machine."""

    def __init__(self, address: str, clock: Clock) -> None:
        self.address = address.rstrip("/")
        self.clock = clock
        self._token = ""
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def interruption(self) -> datetime | None:
        text = self._get("spot/instance-action")
        if not text:
            return None
        try:
            moment = datetime.fromisoformat(str(json.loads(text)["time"]))
            return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
        except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
            return None

    def instance(self) -> str:
        return self._known("instance-id")

    def place(self) -> tuple[str, str]:
        return self._known("instance-type"), self._known("placement/availability-zone")

    def _known(self, path: str) -> str:
        """Metadata that every instance has: asked for again where the service does not answer, as in an instance's first seconds."""
        for _ in range(TRIES - 1):
            if text := self._get(path):
                return text
            self.clock.sleep(PAUSE_SECONDS)
        return self._get(path)

    def _get(self, path: str) -> str:
        """The text at a path, "" when there is none. An expired token is renewed once."""
        for _ in range(2):
            try:
                self._token = self._token or self._call(
                    "/latest/api/token", "PUT", {"X-aws-ec2-metadata-token-ttl-seconds": str(TOKEN_SECONDS)}
                )
                return self._call(f"/latest/meta-data/{path}", "GET", {"X-aws-ec2-metadata-token": self._token})
            except HTTPError as error:
                error.close()
                if error.code != 401:
                    return ""
                self._token = ""
            except (OSError, ValueError, http.client.HTTPException):
                return ""
        return ""

    def _call(self, path: str, method: str, headers: dict[str, str]) -> str:
        request = urllib.request.Request(self.address + path, method=method, headers=headers)  # noqa: S310 - always http
        with self._opener.open(request, timeout=TIMEOUT_SECONDS) as answer:
            text: bytes = answer.read(MOST_BYTES)
        return text.decode()
