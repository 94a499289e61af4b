"""Posting of notices to the lab's webhook, in addition to the mail: in Slack's form or as plain JSON, once, within five seconds.

The mail is sent and recorded before this begins, so that no webhook can keep the watchdog from either. A webhook that does not answer in
time is not tried again in the same call, in which other runs wait. Errors are logged without the address.
"""

import functools
import http.client
import json
import re
import socket
import ssl
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from botocore.exceptions import ClientError

from llmlab.contract import visible
from llmlab.lifecycle import webhooks
from llmlab.lifecycle.webhooks import Target, WebhookError

LIMIT_SECONDS = 5.0
NOT_THERE, DENIED = "ResourceNotFoundException", "AccessDeniedException"
"""Either may be the answer for a secret that is not there: access is denied where the policy names the whole ARN, whose end only a secret
that is there has. https://docs.aws.amazon.com/secretsmanager/latest/userguide/permissions_grant-limited-resources.html"""
SLACK_ESCAPES = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;"})
"""These three and no others: a mention of everybody is `<!channel>`, and so is a link that shows other words than it leads to.
https://docs.slack.dev/messaging/formatting-message-text/#escaping"""
SLACK_LENGTH = 4000
"""Characters that a message's text should not exceed. https://docs.slack.dev/reference/methods/chat.postMessage/#truncating"""
MENTION = re.compile(r"@(?=\w)")
BROKEN_MENTION = "@\u200b"
"""Services that take Slack's form make a mention of a plain `@channel` too; nothing is one after a space of no width.
https://docs.mattermost.com/end-user-guide/collaborate/mention-people.html"""
SUCCESS, REDIRECT = 2, 3
"""Classes of status codes. https://www.rfc-editor.org/rfc/rfc9110#section-15"""

Dial = Callable[..., socket.socket]
"""`socket.create_connection`."""


@dataclass
class Webhook:
    """The lab's webhook during one call of the function. `secrets` makes a Secrets Manager client."""

    secrets: Callable[[], Any]
    secret: str
    log: Callable[..., None]
    lookup: webhooks.Lookup = socket.getaddrinfo
    dial: Dial = socket.create_connection
    context: Callable[[], ssl.SSLContext] = ssl.create_default_context
    limit_seconds: float = LIMIT_SECONDS
    given_up: bool = field(default=False, init=False)

    def post(self, facts: Mapping[str, Any]) -> None:
        """Post a notice, if the lab has a webhook. Never raises: what goes wrong is logged."""
        about = {"run": facts.get("run"), "notice": facts.get("notice")}
        if self.given_up:
            self.log("not posted", **about, why="the webhook was of no use before in this call")
            return
        try:
            target = self._target
            if target is None:
                return
            status = self._within_limit(target, body(facts, slack=target.slack))
            if status // 100 != SUCCESS:
                rest = ", and a redirect is not followed" if status // 100 == REDIRECT else ""
                raise WebhookError(f"the webhook answered {status}{rest}")  # noqa: TRY301 - logged below with the others
        except WebhookError as error:
            self.log("not posted", **about, why=str(error))
        except ClientError as error:
            self.log("not posted", **about, why=f"the webhook's address cannot be read: {error.response['Error']['Code']}")
        except Exception as error:  # noqa: BLE001 - of TLS, of HTTP, of the network: its words may hold the address, its kind does not
            self.log("not posted", **about, why=f"the webhook cannot be reached: {type(error).__name__}")
        else:
            self.log("posted", **about)

    @functools.cached_property
    def _target(self) -> Target | None:
        """The webhook's address, read once a call; None where the lab has no webhook."""
        self.given_up = True  # unless it can be read: a secret that is not answered for is not waited for again
        try:
            address = str(self.secrets().get_secret_value(SecretId=self.secret)["SecretString"])
        except ClientError as error:
            code = error.response["Error"]["Code"]
            if code not in {NOT_THERE, DENIED}:
                raise
            address = ""
            if code == DENIED:
                self.log("no webhook", why="its secret is not there, or may not be read")
        self.given_up = False
        return webhooks.parse(address) if address else None

    def _within_limit(self, target: Target, content: bytes) -> int:
        """Post and return the HTTP status code, within the time limit.

        Uses a thread, because neither a DNS lookup nor an answer that comes byte by byte has a time limit: when it is over, the thread is
        abandoned and its connection shut.
        """
        connection = _Connection(self, target)
        outcome: list[int | Exception] = []
        thread = threading.Thread(target=_exchange, args=(connection, target, content, outcome), daemon=True)
        thread.start()
        thread.join(self.limit_seconds)
        result = outcome[0] if outcome else TimeoutError()
        if isinstance(result, TimeoutError):  # this wait's, or the connection's own of the same length
            self.given_up = True
            connection.shut()
            raise WebhookError(f"the webhook gave no answer within {self.limit_seconds:g} s")
        if isinstance(result, Exception):
            raise result
        return result


class _Connection(http.client.HTTPSConnection):
    """An HTTPS connection to an address that was checked to be public, without a proxy; the server's certificate must match the name."""

    def __init__(self, webhook: Webhook, target: Target) -> None:
        self._webhook, self._target, self._tls = webhook, target, webhook.context()
        self._late = False
        super().__init__(target.host, target.port, timeout=webhook.limit_seconds, context=self._tls)

    def connect(self) -> None:
        address = webhooks.addresses(self._target, self._webhook.lookup)[0]
        if self._late:
            raise TimeoutError
        self.sock = self._webhook.dial((address, self._target.port), self._webhook.limit_seconds)
        self.sock = self._tls.wrap_socket(self.sock, server_hostname=self._target.host.rstrip("."))

    def shut(self) -> None:
        """Abort the connection from another thread, also one that is not open yet."""
        self._late = True
        with suppress(OSError, AttributeError):
            self.sock.shutdown(socket.SHUT_RDWR)


def _exchange(connection: _Connection, target: Target, content: bytes, outcome: list[int | Exception]) -> None:
    try:
        connection.request("POST", target.path, content, {"Content-Type": "application/json; charset=utf-8", "User-Agent": "llmlab"})
        outcome.append(connection.getresponse().status)
    except Exception as error:  # noqa: BLE001 - handed to the waiting thread
        outcome.append(error)
    finally:
        connection.close()


# ---------------------------------------------------------------- words


def body(facts: Mapping[str, Any], *, slack: bool) -> bytes:
    """The body to post: all facts as JSON, or for Slack their text alone, without markup."""
    words = "\n".join([str(facts["subject"]), *map(str, facts["lines"])])
    content = {"text": slack_text(words), "mrkdwn": False} if slack else {**facts, "text": words}
    return json.dumps(content, ensure_ascii=False, allow_nan=False).encode(errors="replace")


def slack_text(words: str) -> str:
    """Text escaped for Slack. It is cut before it is escaped, so that no escape is cut in half."""
    shown = visible(words)
    shown = shown if len(shown) <= SLACK_LENGTH else shown[: SLACK_LENGTH - 1] + "…"
    return MENTION.sub(BROKEN_MENTION, shown).translate(SLACK_ESCAPES)
