"""init, config and secret."""

import base64
import gzip
import tomllib
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path

import pytest
import yaml

from llmlab import recipe
from llmlab.aws import secrets
from llmlab.aws.session import Aws
from llmlab.clock import ManualClock
from llmlab.config import Settings, load
from llmlab.errors import ExitCode, UsageError
from llmlab.ops import wheel
from llmlab.ops.secrets import set_secret
from tests.cli.conftest import CommandLine

WRITTEN = [
    "llmlab.toml",
    "recipe.yaml",
    ".github/workflows/build-push-ecr.yml",
    f".github/llmlab/{wheel.NAME}",
    ".github/llmlab/requirements.lock",
]


def test_init_writes_files_that_work_as_they_are(llmlab: CommandLine, project: Path) -> None:
    result = llmlab("init", "--email", "me@x.org", "--github", "me/repo", "--region", "eu-west-1", "--json")
    assert result.code == ExitCode.DONE
    assert result.json["written"] == WRITTEN
    settings = load({}, {}, project / "llmlab.toml").settings
    assert (settings.email, settings.github, settings.region) == ("me@x.org", "me/repo", "eu-west-1")
    assert recipe.load(project / "recipe.yaml")
    workflow = yaml.safe_load((project / ".github/workflows/build-push-ecr.yml").read_text())
    assert workflow["permissions"] == {}
    text = str(workflow["jobs"]["image"]["steps"])
    assert ":role/llm-tuning-lab-eu-west-1-github-push" in text
    assert "--region eu-west-1" in text
    assert "--require-hashes --requirement .github/llmlab/requirements.lock" in text


def test_the_lock_that_init_writes_names_the_wheel_that_lies_beside_it(llmlab: CommandLine, project: Path) -> None:
    file = project / ".github/llmlab" / wheel.NAME
    for body in (wheel.build(), b"an older one, which stays"):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(body)
        llmlab("init")
        lock = file.with_name("requirements.lock")
        lines = lock.read_text().splitlines()
        assert lines[1] == f".github/llmlab/{wheel.NAME} --hash=sha256:{sha256(body).hexdigest()}"
        assert sum("==" in line for line in lines) > 20
        assert all("--hash=sha256:" in line or line.endswith("\\") for line in lines[1:] if not line.startswith("#") and line)
        lock.unlink()


def test_init_never_overwrites(llmlab: CommandLine, project: Path) -> None:
    (project / "recipe.yaml").write_text("mine: true\n")
    first = llmlab("init", "--json").json
    second = llmlab("init", "--lab", "other-lab", "--json").json
    assert first["kept"] == ["recipe.yaml"]
    assert second["written"] == []
    assert (project / "recipe.yaml").read_text() == "mine: true\n"
    assert "other-lab" not in (project / "llmlab.toml").read_text()


@pytest.mark.parametrize("days", ["7", "365"])
def test_days_are_taken_from_a_variable(days: str) -> None:
    assert load({}, {"LLMLAB_LOG_DAYS": days}, None).settings.log_days == int(days)


@pytest.mark.parametrize("days", ["8", "7.0", "seven", "²"])
def test_other_days_are_refused(days: str) -> None:
    with pytest.raises(UsageError, match="log_days cannot be"):
        load({}, {"LLMLAB_LOG_DAYS": days}, None)


def test_every_setting_of_a_fresh_file_can_be_switched_on(llmlab: CommandLine, project: Path) -> None:
    llmlab("init")
    lines = (project / "llmlab.toml").read_text().splitlines()
    keys = [line.removeprefix("# ") for line in lines if line.startswith("# ") and line[2:].split(" = ")[0] in Settings.model_fields]
    assert len(keys) == len(Settings.model_fields)
    assert set(tomllib.loads("\n".join(keys))) == set(Settings.model_fields)


def test_config_tells_where_each_value_came_from(llmlab: CommandLine, project: Path) -> None:
    (project / "llmlab.toml").write_text('lab = "my-lab"\nbudget = 20\nmax_hours = 2\n')
    llmlab.environment = {"LLMLAB_BUDGET": "30", "LLMLAB_REGION": "eu-west-1", "LLMLAB_INSTANCE_TYPES": "g5.xlarge, g6.xlarge"}
    rows = llmlab("config", "--json", "--region", "us-west-2").json
    assert rows["lab"] == {"value": "my-lab", "from": "llmlab.toml"}
    assert rows["budget"] == {"value": 30.0, "from": "LLMLAB_BUDGET"}
    assert rows["region"] == {"value": "us-west-2", "from": "--region"}
    assert rows["instance_types"] == {"value": ["g5.xlarge", "g6.xlarge"], "from": "LLMLAB_INSTANCE_TYPES"}
    assert rows["ubuntu"]["from"] == "default"
    assert set(rows) == set(Settings.model_fields)
    assert "LLMLAB_BUDGET" in llmlab("config").out


def test_a_secret_is_set_from_standard_input_and_never_shown(lab: CommandLine, lab_aws: Aws) -> None:
    token = "hf_verysecret"
    first = lab("secret", "set", "hf-token", stdin=f"{token}\n")
    assert (first.code, first.out) == (ExitCode.DONE, "hf-token: set\n")
    again = lab("secret", "set", "hf-token", "--json", "-vv", stdin="hf_other")
    listed = lab("secret", "list")
    for result in (first, again, listed):
        assert token not in result.out + result.err
        assert "hf_other" not in result.out + result.err
    assert listed.out.splitlines()[1].startswith("hf-token")
    client = lab_aws.client("secretsmanager")
    assert client.get_secret_value(SecretId="llm-tuning-lab/hf-token")["SecretString"] == "hf_other"
    tags = {tag["Key"]: tag["Value"] for tag in client.describe_secret(SecretId="llm-tuning-lab/hf-token")["Tags"]}
    assert tags == lab_aws.names.tags


def test_a_secret_is_removed_at_once_and_may_come_back(lab: CommandLine, lab_aws: Aws) -> None:
    lab("secret", "set", "hf-token", stdin="one")
    assert lab("secret", "remove", "hf-token").code == ExitCode.DONE
    assert secrets.find(lab_aws) == []
    missing = lab("secret", "remove", "hf-token")
    assert (missing.code, missing.error, missing.hint) == (ExitCode.FAILED, "there is no secret hf-token", "llmlab secret list")
    assert lab("secret", "set", "hf-token", stdin="two").code == ExitCode.DONE


def test_a_secret_that_waits_for_its_deletion_is_taken_back(lab: CommandLine, lab_aws: Aws) -> None:
    lab("secret", "set", "hf-token", stdin="one")
    lab_aws.client("secretsmanager").delete_secret(SecretId="llm-tuning-lab/hf-token", RecoveryWindowInDays=7)
    assert lab("secret", "set", "hf-token", stdin="two").code == ExitCode.DONE
    assert [one.name for one in secrets.find(lab_aws)] == ["hf-token"]


def test_a_strangers_secret_is_not_touched(lab: CommandLine, lab_aws: Aws) -> None:
    lab_aws.client("secretsmanager").create_secret(Name="llm-tuning-lab/hf-token", SecretString="theirs")
    refused = lab("secret", "set", "hf-token", stdin="mine")
    assert (refused.code, refused.error) == (ExitCode.REFUSED, "the secret llm-tuning-lab/hf-token is not this lab's")


WEBHOOK = "https://1.1.1.1/services/T0/B0/verysecret"
"""A number, so that nothing has to be looked up."""


@pytest.mark.slow  # makes a whole lab to look through
def test_the_address_of_a_webhook_is_nowhere_but_in_its_secret(lab: CommandLine, lab_aws: Aws, project: Path) -> None:
    """Not in what is printed, in settings, user data, the function, a template, a bucket or a log."""
    printed = [
        lab("secret", "set", "webhook-url", stdin=f" {WEBHOOK}\n"), lab("secret", "list", "--json"), lab("config"),
        lab("bootstrap", "--yes", "-vv"), lab("status", "--json"),
    ]  # fmt: skip
    assert [result.code for result in printed] == [ExitCode.DONE] * 5
    seen = {"printed": "".join(result.out + result.err for result in printed)}
    assert lab_aws.client("secretsmanager").get_secret_value(SecretId="llm-tuning-lab/webhook-url")["SecretString"] == WEBHOOK
    seen |= {str(path): path.read_bytes().decode(errors="replace") for path in project.rglob("*") if path.is_file()}
    (version,) = lab_aws.ec2.describe_launch_template_versions(LaunchTemplateName=lab_aws.names.launch_template, Versions=["$Latest"])[
        "LaunchTemplateVersions"
    ]
    data = base64.b64decode(version["LaunchTemplateData"]["UserData"])
    seen["user data"] = gzip.decompress(data).decode() if data.startswith(b"\x1f\x8b") else data.decode()
    seen["template"] = str(version)
    seen["function"] = str(lab_aws.client("lambda").get_function(FunctionName=lab_aws.names.watchdog)["Configuration"])
    for bucket in (lab_aws.names.data_bucket, lab_aws.names.outputs_bucket):
        for item in lab_aws.s3.list_objects_v2(Bucket=bucket).get("Contents", []):
            seen[item["Key"]] = lab_aws.s3.get_object(Bucket=bucket, Key=item["Key"])["Body"].read().decode(errors="replace")
    logs = lab_aws.client("logs")
    for group in logs.describe_log_groups()["logGroups"]:
        seen[group["logGroupName"]] = str(logs.filter_log_events(logGroupName=group["logGroupName"])["events"])
    assert len(seen["user data"]) > 1000
    assert [where for where, text in seen.items() if "verysecret" in text or "1.1.1.1" in text] == []


@pytest.mark.parametrize(
    ("address", "error"),
    [
        ("http://1.1.1.1/services/verysecret", "a webhook's address begins with https://"),
        ("https://10.0.0.1/verysecret", "the webhook's address leads into a private network, and notices are posted to public hosts only"),
        ("https://localhost/verysecret", "the webhook's address leads into a private network, and notices are posted to public hosts only"),
        ("https://me:verysecret@1.1.1.1/", "a webhook's address holds no user name and no password"),
    ],
)
def test_an_address_that_cannot_be_posted_to_is_refused(lab: CommandLine, lab_aws: Aws, address: str, error: str) -> None:
    refused = lab("secret", "set", "webhook-url", stdin=address)
    assert (refused.code, refused.error, refused.hint) == (ExitCode.USAGE, error, "llmlab secret set webhook-url < address.txt")
    assert "verysecret" not in refused.out + refused.err
    assert secrets.find(lab_aws) == []


def test_a_host_that_this_computer_does_not_know_is_told(lab_aws: Aws) -> None:
    said: list[str] = []

    def nobody(*_: object, **__: object) -> list[object]:
        raise OSError(WEBHOOK)

    set_secret(
        lab_aws, "webhook-url", "https://hooks.slack.com/services/x", ManualClock(datetime(2026, 11, 30, tzinfo=UTC)), said.append, nobody
    )
    assert said == ["note: this computer does not know the host of the address; the watchdog asks again when it posts"]
    assert [secret.name for secret in secrets.find(lab_aws)] == ["webhook-url"]


def test_a_secret_that_nothing_reads_is_told(lab: CommandLine) -> None:
    assert (
        "note: no program of the lab reads wandb-api-key, only hf-token and webhook-url"
        in lab("secret", "set", "wandb-api-key", stdin="x").err
    )
