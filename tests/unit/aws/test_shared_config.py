"""AWS's settings on a laptop: read as AWS's own tools read them, and told where they cannot be."""

from pathlib import Path
from typing import Any

import pytest

from llmlab.aws.session import Aws, BadCredentials
from llmlab.contract import PROJECT
from llmlab.errors import LabError

PROFILES = """
[profile base]
region = eu-west-1
aws_access_key_id = test
aws_secret_access_key = test
[profile mfa]
role_arn = arn:aws:iam::123456789012:role/somebody
source_profile = base
mfa_serial = arn:aws:iam::123456789012:mfa/me
"""


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file that AWS_CONFIG_FILE names, and no other settings or keys."""
    file = tmp_path / "my config"
    monkeypatch.setenv("AWS_CONFIG_FILE", str(file))
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name, raising=False)
    return file


@pytest.mark.parametrize(
    ("variables", "flag", "region"),
    [
        ({"AWS_REGION": "us-west-2"}, None, "us-west-2"),
        ({"AWS_REGION": "us-west-2", "AWS_DEFAULT_REGION": "eu-central-1"}, None, "us-west-2"),
        ({"AWS_DEFAULT_REGION": "eu-central-1"}, None, "eu-central-1"),
        ({"AWS_REGION": "us-west-2"}, "ap-south-1", "ap-south-1"),
        ({}, None, "eu-west-1"),
    ],
)
def test_the_region_is_the_one_that_awss_newer_tools_take(
    config: Path, monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], flag: str | None, region: str
) -> None:
    config.write_text(PROFILES)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert Aws(flag, "base", lab=PROJECT).region == region


@pytest.mark.parametrize("text", [b"[default\nregion=us-east-1\n", b"region=us-east-1\n", b"\xff\xfe[\x00d\x00"])
def test_settings_that_cannot_be_read_are_named(config: Path, text: bytes) -> None:
    config.write_bytes(text)
    with pytest.raises(LabError, match="the AWS settings ") as caught:
        Aws("us-east-1", lab=PROJECT).client("sts").get_caller_identity()
    assert str(config) in caught.value.message or "no text" in caught.value.message
    assert caught.value.hint.startswith(("vi ", "aws "))


def test_a_credential_process_that_fails_is_told_as_that(config: Path) -> None:
    config.write_text('[default]\nregion = us-east-1\ncredential_process = sh -c "echo the vault is sealed >&2; exit 3"\n')
    with pytest.raises(BadCredentials, match=r"could not be fetched by custom-process: the vault is sealed$") as caught:
        Aws(lab=PROJECT).client("sts").get_caller_identity()
    assert caught.value.hint == "aws sts get-caller-identity"


def test_a_credential_process_that_says_nothing_is_told_too(config: Path) -> None:
    config.write_text("[default]\nregion = us-east-1\ncredential_process = false\n")
    with pytest.raises(BadCredentials, match=r"could not be fetched by custom-process: it said nothing$"):
        Aws(lab=PROJECT).client("sts").get_caller_identity()


def test_an_assumed_role_is_kept_where_the_aws_command_line_looks(config: Path) -> None:
    """So that a code of a multi-factor device, which is good for one call, is asked for once a session."""
    config.write_text(PROFILES)
    asked = []

    class Sts:
        def assume_role(self, **parameters: Any) -> Any:
            asked.append(parameters["TokenCode"])
            keys = {"AccessKeyId": "AKIAROLE", "SecretAccessKey": "s", "SessionToken": "t", "Expiration": "2126-01-01T00:00:00Z"}
            return {"Credentials": keys, "AssumedRoleUser": {"AssumedRoleId": "a", "Arn": "arn:aws:sts::123456789012:assumed-role/r/s"}}

    for code in ("111111", "222222"):
        session: Any = Aws("us-east-1", "mfa", lab=PROJECT).session
        provider = session._session.get_component("credential_provider").get_provider("assume-role")
        provider._client_creator = lambda *_args, **_keywords: Sts()
        provider._prompter = lambda _words, code=code: code
        assert session.get_credentials().get_frozen_credentials().access_key == "AKIAROLE"
    assert asked == ["111111"]
    assert len(list((config.parent / ".aws/cli/cache").iterdir())) == 1
