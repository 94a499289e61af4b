"""Parsing and checking the address of the lab's webhook, which notices are posted to.

The address is a secret of the lab, because whoever knows it may post there, so no error and no `repr` here contains it. The laptop checks
the host when the address is set, and the watchdog checks it again when it posts, for the very IP address that it then connects to: DNS may
have changed in between.
https://cheatsheetseries.owasp.org/cheatsheets/Server_Side_Request_Forgery_Prevention_Cheat_Sheet.html
"""

import ipaddress
import re
import socket
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

SLACK_HOSTS = frozenset({"hooks.slack.com", "hooks.slack-gov.com"})
"""Where Slack's incoming webhooks are. https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks/, https://docs.slack.dev/govslack/"""
SLACK_PREFIX = "slack+"
"""Before the address of another service that takes what Slack takes, such as Mattermost or Discord's `/slack`.
https://developers.mattermost.com/integrate/webhooks/incoming/, https://discord.com/developers/docs/resources/webhook#execute-slackcompatible-webhook"""
LONGEST = 2048
SHOWN = re.compile(r"[!-~]+")
"""Printable ASCII without a space: nothing that ends a line of a request, and no letter that only looks like another."""
HOST = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?\.?|[0-9A-Fa-f:.]+")
HOLDING_IPV4 = tuple(map(ipaddress.IPv6Network, ("::/96", "::ffff:0:0/96", "64:ff9b::/96", "64:ff9b:1::/48", "2002::/16", "2001::/32")))
"""IPv6 that stands for an IPv4 address, which may be a private one: compatible, mapped, NAT64, 6to4, Teredo.
https://www.iana.org/assignments/iana-ipv6-special-registry/iana-ipv6-special-registry.xhtml"""
Lookup = Callable[..., list[Any]]
"""`socket.getaddrinfo`."""


class WebhookError(ValueError):
    """The address or its server cannot be used; the message never contains the address."""


class UnknownHost(WebhookError):
    """DNS knows no address for the host."""


@dataclass(frozen=True)
class Target:
    """A parsed webhook address. `path` is the secret part; `slack` says whether it takes Slack's form."""

    host: str = field(repr=False)
    port: int = field(repr=False)
    path: str = field(repr=False)
    slack: bool


def parse(address: str) -> Target:
    """Parse a webhook's address.

    Raises:
        WebhookError: the text is not a valid address.
    """
    text = address.strip()
    if len(text) > LONGEST or not SHOWN.fullmatch(text):
        raise WebhookError(f"a webhook's address is one line of at most {LONGEST} printable ASCII characters")
    try:
        parts = urlsplit(text.removeprefix(SLACK_PREFIX))
        host, port = parts.hostname or "", parts.port or 443
    except ValueError:
        raise WebhookError("a webhook's address has the form https://HOST/PATH") from None
    if parts.scheme != "https":
        raise WebhookError("a webhook's address begins with https://")
    if "@" in parts.netloc:
        raise WebhookError("a webhook's address holds no user name and no password")
    if not HOST.fullmatch(host):
        raise WebhookError("a webhook's address has the form https://HOST/PATH")
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return Target(host, port, path, text.startswith(SLACK_PREFIX) or host in SLACK_HOSTS)


def addresses(target: Target, lookup: Lookup = socket.getaddrinfo) -> list[str]:
    """Resolve the host of a webhook to its IP addresses, all of them public.

    Raises:
        WebhookError: an address is in a private network, or the host has none.
    """
    try:
        numbers = [str(place[0]) for *_, place in lookup(target.host, target.port, type=socket.SOCK_STREAM)]
    except (OSError, UnicodeError):
        numbers = []
    if not numbers:
        raise UnknownHost("the host of the webhook's address is not known here")
    if not all(map(is_public, numbers)):
        raise WebhookError("the webhook's address leads into a private network, and notices are posted to public hosts only")
    return list(dict.fromkeys(numbers))


def is_public(address: str) -> bool:
    """Whether an IP address is public: not loopback, private, link-local, shared, multicast or reserved."""
    try:
        ip = ipaddress.ip_address(address)  # one with a zone (fe80::1%eth0) is link-local
    except ValueError:
        return False
    if isinstance(ip, ipaddress.IPv6Address) and (ip.scope_id or any(ip in network for network in HOLDING_IPV4)):
        return False
    return ip.is_global and not (ip.is_private or ip.is_loopback or ip.is_link_local or ip.is_multicast or ip.is_reserved)
