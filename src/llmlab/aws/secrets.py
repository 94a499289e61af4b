"""Secrets Manager: the lab's tokens, tagged, encrypted with the account's own key for it. A value is written and never read back here."""

from dataclasses import dataclass
from typing import Any

from llmlab.aws.patience import patiently
from llmlab.aws.session import Aws, NotFound
from llmlab.clock import Clock
from llmlab.errors import Refused


@dataclass(frozen=True)
class Secret:
    """`name` without the lab's prefix; `changed` is when its value last changed, as a timestamp, "" when not known."""

    name: str
    arn: str
    changed: str = ""


GOING = ("scheduled for deletion",)
"""Words of the error about a secret that was deleted at once, and whose name is not free yet: "use appropriate back off and retry logic".
https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_DeleteSecret.html"""


def put(aws: Aws, name: str, value: str, clock: Clock) -> Secret:
    """Create a secret or replace its value. One that waits for its deletion is restored first; one that is being deleted is waited for."""
    return patiently(
        lambda: _put(aws, name, value),
        clock,
        passing=GOING,
        awaited=f"the end of the old secret {aws.names.secret(name)}",
        hint=f"llmlab secret set {name} < token.txt",
    )


def _put(aws: Aws, name: str, value: str) -> Secret:
    client = aws.client("secretsmanager")
    identity = aws.names.secret(name)
    tags = [{"Key": key, "Value": text} for key, text in aws.names.tags.items()]
    try:
        existing: dict[str, Any] = client.describe_secret(SecretId=identity)
    except NotFound:
        created = client.create_secret(Name=identity, Description=f"{name} of the lab {aws.lab}", SecretString=value, Tags=tags)
        return Secret(name, created["ARN"])
    if any(tag not in existing.get("Tags", []) for tag in tags):
        raise Refused(f"the secret {identity} is not this lab's", f"aws secretsmanager describe-secret --secret-id {identity}")
    if "DeletedDate" in existing:
        client.restore_secret(SecretId=identity)
    client.put_secret_value(SecretId=identity, SecretString=value)
    return Secret(name, existing["ARN"])


def find(aws: Aws) -> list[Secret]:
    """The lab's secrets, by name."""
    prefix = aws.names.secret("")
    pages = aws.client("secretsmanager").get_paginator("list_secrets").paginate(Filters=[{"Key": "name", "Values": [prefix]}])
    entries = [entry for page in pages for entry in page["SecretList"] if entry["Name"].startswith(prefix) and "DeletedDate" not in entry]
    return sorted(
        (
            Secret(
                entry["Name"].removeprefix(prefix), entry["ARN"], entry["LastChangedDate"].isoformat() if "LastChangedDate" in entry else ""
            )
            for entry in entries
        ),
        key=lambda secret: secret.name,
    )


def delete(aws: Aws, name: str) -> None:
    """Delete a secret at once, without the usual weeks of waiting: a token is cheap to set again.

    Raises:
        NotFound: there is none.
    """
    client = aws.client("secretsmanager")
    client.describe_secret(SecretId=aws.names.secret(name))
    client.delete_secret(SecretId=aws.names.secret(name), ForceDeleteWithoutRecovery=True)
