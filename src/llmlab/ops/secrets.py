"""Tokens of Hugging Face and of trackers: set from standard input, listed by name, removed. A value is never shown or logged."""

import re

from llmlab.aws import secrets
from llmlab.aws.secrets import Secret
from llmlab.aws.session import Aws, NotFound
from llmlab.clock import Clock
from llmlab.contract import HF_TOKEN
from llmlab.errors import UsageError

NAME = re.compile(r"[a-z][a-z0-9-]{0,62}[a-z0-9]")
KNOWN = (HF_TOKEN, "wandb-api-key", "mlflow-tracking-token")
MOST_BYTES = 65_536
"""Secrets Manager's limit for one value."""


def set_secret(aws: Aws, name: str, value: str, clock: Clock) -> Secret:
    """Store `value` under `name`; a trailing line break is not part of it.

    Raises:
        UsageError: a name or value that cannot be.
    """
    check_name(name)
    value = value.rstrip("\r\n")
    if not value.strip():
        raise UsageError("the value on standard input is empty", f"llmlab secret set {name} < token.txt")
    if len(value.encode()) > MOST_BYTES:
        raise UsageError(f"the value is longer than {MOST_BYTES} bytes", f"llmlab secret set {name} < token.txt")
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
        raise UsageError(f"a secret's name is lower-case letters, digits and dashes, not {name!r}", f"llmlab secret set {KNOWN[0]}")
