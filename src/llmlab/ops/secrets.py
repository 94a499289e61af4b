"""The secrets of a lab's own programs: set from standard input, listed by name, removed. A value is never shown or logged."""

import re
import socket
from collections.abc import Callable

from llmlab.aws import secrets
from llmlab.aws.secrets import Secret
from llmlab.aws.session import Aws, NotFound
from llmlab.clock import Clock
from llmlab.contract import HF_TOKEN, WEBHOOK_URL
from llmlab.errors import UsageError
from llmlab.lifecycle import webhooks

NAME = re.compile(r"[a-z][a-z0-9-]{0,62}[a-z0-9]")
READ = {HF_TOKEN: "token.txt", WEBHOOK_URL: "address.txt"}
"""Each secret that a program of the lab reads, and the file that examples take it from."""
MOST_BYTES = 65_536
"""Secrets Manager's limit for one value."""


def set_secret(
    aws: Aws, name: str, value: str, clock: Clock, say: Callable[[str], None], lookup: webhooks.Lookup = socket.getaddrinfo
) -> Secret:
    """Store `value` under `name`; a trailing line break is not part of it. `say` hears what is odd about it.

    Raises:
        UsageError: a name or value that cannot be.
    """
    check_name(name)
    value, again = value.rstrip("\r\n"), f"llmlab secret set {name} < {READ.get(name, 'token.txt')}"
    if not value.strip():
        raise UsageError("the value on standard input is empty", again)
    if len(value.encode()) > MOST_BYTES:
        raise UsageError(f"the value is longer than {MOST_BYTES} bytes", again)
    if name == WEBHOOK_URL:
        value = value.strip()
        try:
            webhooks.addresses(webhooks.parse(value), lookup)
        except webhooks.UnknownHost:
            say("note: this computer does not know the host of the address; the watchdog asks again when it posts")
        except webhooks.WebhookError as error:
            raise UsageError(str(error), again) from None
    elif name not in READ:
        say(f"note: no program of the lab reads {name}, only {' and '.join(READ)}")
    return secrets.put(aws, name, value, clock)


def remove_secret(aws: Aws, name: str) -> None:
    """Delete the secret.

    Raises:
        NotFound: there is none of that name.
    """
    check_name(name)
    try:
        secrets.delete(aws, name)
    except NotFound as error:
        raise NotFound(f"there is no secret {name}", "llmlab secret list") from error


def check_name(name: str) -> None:
    """Raise `UsageError` unless `name` can be a secret's."""
    if not NAME.fullmatch(name):
        raise UsageError(
            f"a secret's name is lower-case letters, digits and dashes, not {name!r}", f"llmlab secret set {HF_TOKEN} < {READ[HF_TOKEN]}"
        )
