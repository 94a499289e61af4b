"""Docker mode, as far as it needs neither root nor an engine."""

import os
import socket
import ssl
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.request import urlopen

import pytest

from llmlab.errors import LabError
from llmlab.sandbox.estate import packages, requirements, shelf
from llmlab.sandbox.estate.authority import VALID, Authority, names
from llmlab.sandbox.estate.estate import Owner, cache_folder

NOW = datetime(2026, 11, 25, tzinfo=UTC)
ENDPOINTS = (
    "ec2.us-east-1.amazonaws.com",
    "sts.us-east-1.amazonaws.com",
    "iam.amazonaws.com",
    "bucket-1.s3.amazonaws.com",
    "bucket-1.s3.eu-central-1.amazonaws.com",
    "s3.us-west-2.amazonaws.com",
    "api.ecr.us-east-1.amazonaws.com",
    "123456789012.dkr.ecr.us-east-1.amazonaws.com",
)


def covered(host: str) -> bool:
    """As TLS clients match: a wildcard stands for one label, the first."""
    return f"*.{host.partition('.')[2]}" in names()


def test_every_endpoint_has_a_name_in_the_certificate() -> None:
    assert [host for host in ENDPOINTS if not covered(host)] == []
    assert not covered("example.com")
    assert not covered("a.b.s3.amazonaws.com")


def test_the_authority_is_made_once_and_again_when_it_runs_out(tmp_path: Path) -> None:
    authority = Authority(tmp_path / "authority")
    authority.make(NOW)
    first = authority.certificate.read_bytes()
    assert authority.key.stat().st_mode & 0o777 == 0o600
    context = ssl.create_default_context(cafile=str(authority.certificate))
    assert len(context.get_ca_certs()) == 1
    ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(authority.services, authority.key)
    authority.make(NOW + timedelta(days=300))
    assert authority.certificate.read_bytes() == first
    authority.make(NOW + VALID)
    assert authority.certificate.read_bytes() != first


def test_what_is_missing_is_named_with_the_package_that_has_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in set(requirements.PACKAGES) - {"dnsmasq", "htpasswd"}:
        (tmp_path / name).write_text("#!/bin/sh\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(requirements, "SYSTEM_PATH", "")
    monkeypatch.setattr(sys, "platform", "linux")
    with pytest.raises(LabError, match=r"^htpasswd and dnsmasq are not installed$") as caught:
        requirements.check()
    assert caught.value.hint == "apt-get install --no-install-recommends apache2-utils dnsmasq-base"
    assert not requirements.possible()
    monkeypatch.setattr(sys, "platform", "darwin")
    with pytest.raises(LabError, match="need Linux"):
        requirements.check()


def test_the_packages_of_ci_are_those_that_are_asked_for() -> None:
    lines = (Path(__file__).parents[3] / ".ci/debian-packages").read_text(encoding="utf-8").splitlines()
    listed = {line for line in lines if line and not line.startswith("#")}
    assert set(requirements.PACKAGES.values()) - listed == set()


def test_pips_settings_of_the_environment_are_above_the_files() -> None:
    text = ":env:.find-links='/wheels'\nglobal.find-links='/other'\nglobal.index-url='https://x.example/simple'\nnonsense\n"
    assert packages.settings_of(text) == {"find-links": "/wheels", "index-url": "https://x.example/simple"}


def test_a_folder_of_wheels_is_served_while_an_image_is_built(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a-1-py3-none-any.whl").write_bytes(b"wheel")
    monkeypatch.setattr(
        packages, "pip_settings", lambda: {"find-links": f"{tmp_path} https://x.example/links", "extra-index-url": "file:///x"}
    )
    with packages.build_arguments() as arguments:
        given = dict(word.split("=", 1) for word in arguments if word != "--build-arg")
        served, other = given.pop("PIP_FIND_LINKS").split()
        assert (other, given) == ("https://x.example/links", {"PIP_TRUSTED_HOST": "127.0.0.1"})
        with urlopen(served + "a-1-py3-none-any.whl") as answer:
            assert answer.read() == b"wheel"
    with pytest.raises(OSError, match="refused"):
        urlopen(served)


@pytest.mark.skipif(sys.platform != "linux", reason="Docker mode needs /proc")
def test_what_a_dead_sandbox_left_is_told_from_what_a_living_one_has() -> None:
    owner = Owner.of(os.getpid())
    assert owner is not None
    assert Owner.parse(str(owner)) == owner
    assert owner.alive
    assert not Owner(owner.pid, owner.started + 1).alive
    assert Owner.parse("who") is None


def test_the_cache_is_where_this_user_keeps_such_things() -> None:
    assert cache_folder({"XDG_CACHE_HOME": "/c", "HOME": "/h"}) == Path("/c/llmlab/sandbox")
    assert cache_folder({"HOME": "/h"}) == Path("/h/.cache/llmlab/sandbox")


@pytest.mark.parametrize(
    ("effective", "missing"),
    [
        ("000001ffffffffff", []),
        ("000001fffeffffff", []),
        ("00000000a80425fb", ["CAP_NET_ADMIN", "CAP_SYS_ADMIN"]),
        ("00000000a82425fb", ["CAP_NET_ADMIN"]),
    ],
)
def test_root_in_a_container_without_privileges_is_no_root(effective: str, missing: list[str]) -> None:
    """The third is what a Docker engine leaves to root by default."""
    assert requirements.capabilities_missing(f"Name:\tpython\nCapPrm:\t{0:016x}\nCapEff:\t{effective}\n") == missing


@pytest.mark.parametrize("listens", [True, False])
def test_a_port_that_is_taken_is_not_the_registrys(listens: bool) -> None:
    """Also where nobody listens at it: any connection's own end may have been given this port."""
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        if listens:
            holder.listen()
        taken = holder.getsockname()[1]
        assert shelf.free_address(taken) != f"127.0.0.1:{taken}"
