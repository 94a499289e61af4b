"""The address of a webhook: what can be one, and that it leads to no private network."""

import socket
from typing import Any

import pytest

from llmlab.lifecycle import webhooks
from llmlab.lifecycle.webhooks import WebhookError, addresses, is_public, parse

SECRET = "T0/B0/verysecret"


def known_as(*numbers: str) -> webhooks.Lookup:
    return lambda _host, port, **_: [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (number, port)) for number in numbers]


@pytest.mark.parametrize(
    ("address", "slack", "host", "port", "path"),
    [
        (f"https://hooks.slack.com/services/{SECRET}", True, "hooks.slack.com", 443, f"/services/{SECRET}"),
        (f"https://HOOKS.slack-gov.com/services/{SECRET}", True, "hooks.slack-gov.com", 443, f"/services/{SECRET}"),
        (f"slack+https://chat.example.org:8443/hooks/{SECRET}", True, "chat.example.org", 8443, f"/hooks/{SECRET}"),
        (f"https://example.org/hook?token={SECRET}#x", False, "example.org", 443, f"/hook?token={SECRET}"),
        ("https://hooks.slack.com.example.org", False, "hooks.slack.com.example.org", 443, "/"),
        ("https://[2606:4700::1111]/x\n", False, "2606:4700::1111", 443, "/x"),
    ],
)
def test_what_an_address_says(address: str, slack: bool, host: str, port: int, path: str) -> None:
    target = parse(address)
    assert (target.slack, target.host, target.port, target.path) == (slack, host, port, path)
    assert SECRET not in repr(target)
    assert host not in repr(target)


NO_ADDRESS = [
    f"http://hooks.slack.com/services/{SECRET}", f"hooks.slack.com/services/{SECRET}", f"ftp://example.org/{SECRET}", f"https:///{SECRET}",
    f"https://me:word@example.org/{SECRET}", f"https://example.org@127.0.0.1/{SECRET}", f"https://example.org:port/{SECRET}",
    f"https://example.org:99999/{SECRET}", f"https://example.org/a b{SECRET}", f"https://example.org/\r\nHost: x{SECRET}",
    f"https://exämple.org/{SECRET}", f"https://[::1/{SECRET}", f"https://exa_mple.org/{SECRET}",
    f"https://example.org/{'x' * 2048}{SECRET}", f"slack+http://example.org/{SECRET}", "",
]  # fmt: skip


@pytest.mark.parametrize("address", NO_ADDRESS)
def test_what_is_no_address_is_refused_without_its_words(address: str) -> None:
    with pytest.raises(WebhookError) as refused:
        parse(address)
    assert SECRET not in str(refused.value)
    assert "example" not in str(refused.value)
    assert refused.value.__cause__ is None


PRIVATE = [
    "127.0.0.1", "127.255.0.9", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "0.0.0.0", "224.0.0.1",
    "240.0.0.1", "255.255.255.255", "192.0.2.1", "::1", "::", "fe80::1", "fe80::1%eth0", "fc00::1", "ff02::1", "2001:db8::1",
    "::ffff:127.0.0.1", "::ffff:8.8.8.8", "::127.0.0.1", "64:ff9b::7f00:1", "2002:7f00:1::", "2001:0:7f00:1::", "fd00:ec2::254",
]  # fmt: skip


@pytest.mark.parametrize("number", PRIVATE)
def test_a_host_of_a_private_network_is_refused(number: str) -> None:
    assert not is_public(number)
    with pytest.raises(WebhookError, match="private network"):
        addresses(parse("https://example.org/x"), known_as("1.1.1.1", number))


@pytest.mark.parametrize("number", ["1.1.1.1", "93.184.215.14", "2606:4700:4700::1111"])
def test_a_public_host_is_taken(number: str) -> None:
    assert addresses(parse("https://example.org/x"), known_as(number, number)) == [number]


@pytest.mark.parametrize(
    "address", ["https://127.0.0.1/x", "https://127.1/x", "https://2130706433/x", "https://0x7f.1/x", "https://[::1]/x"]
)
def test_each_spelling_of_this_computer_is_seen(address: str) -> None:
    """By the system's own look-up, which needs no network for numbers."""
    with pytest.raises(WebhookError):
        addresses(parse(address))


def test_a_host_that_nobody_knows() -> None:
    def nobody(*_: Any, **__: Any) -> list[Any]:
        raise socket.gaierror(socket.EAI_NONAME, f"not known: {SECRET}")

    for lookup in (nobody, known_as()):
        with pytest.raises(webhooks.UnknownHost, match="not known here") as refused:
            addresses(parse("https://example.org/x"), lookup)
        assert SECRET not in str(refused.value)
