"""bootstrap, doctor and teardown as they are typed."""

import io
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from rich.table import Table

from llmlab.aws.owned import Leftover
from llmlab.commands.lab import going_view, in_words
from llmlab.config import load
from llmlab.errors import ExitCode
from llmlab.ui import Ui
from tests.cli.conftest import CommandLine
from tests.laws.refusing import refusing

if TYPE_CHECKING:
    from llmlab.aws.session import Aws


def test_plan_changes_nothing_and_says_so_with_its_exit_code(lab: CommandLine, recorder: list[str], project: Path) -> None:
    result = lab("bootstrap", "--plan", "-v", "--email", "me@example.org")
    assert result.code == ExitCode.PLAN_NOT_EMPTY
    assert "+ VPC llm-tuning-lab-vpc" in result.out
    assert "    retention days: 30" in result.out
    assert "    target: function:llm-tuning-lab-watchdog\n" in result.out
    assert "arn:aws" not in result.out, "of this account, which the first line tells"
    planned = re.fullmatch("([0-9]+) to create, 0 to change, 0 as they should be", result.out.splitlines()[-1])
    assert planned
    assert int(planned[1]) >= 35
    assert not [call for call in recorder if not call.partition(":")[2].startswith(("Describe", "Get", "List"))]
    assert list(project.iterdir()) == []


def test_an_arn_of_another_account_is_shown_whole() -> None:
    here = re.compile("arn:aws:[a-z]+:(us-east-1)?:1:")
    assert in_words(["arn:aws:sns:us-east-1:1:a", "arn:aws:sns:us-east-1:2:b"], here) == "a, arn:aws:sns:us-east-1:2:b"


def test_bootstrap_then_plan_then_drift(lab: CommandLine, lab_aws: "Aws") -> None:
    made = lab("bootstrap", "--yes", "--json", "--github", "me/repo", "--budget", "70")
    assert made.code == ExitCode.DONE
    count = made.json["created"]
    assert count >= 36
    assert made.json["github_role"].endswith(":role/llm-tuning-lab-us-east-1-github-push")
    again = lab("bootstrap", "--plan")
    assert (again.code, again.out.splitlines()[-1]) == (ExitCode.DONE, f"nothing to do: all {count} resources are as they should be")
    lab_aws.client("logs").delete_retention_policy(logGroupName="/llm-tuning-lab/setup")
    drift = lab("bootstrap", "--plan")
    assert drift.code == ExitCode.PLAN_NOT_EMPTY
    assert drift.out.splitlines()[1:] == [
        "~ log group /llm-tuning-lab/setup",
        "    retention days: none → 30",
        f"0 to create, 1 to change, {count - 1} as they should be",
    ]
    (change,) = lab("bootstrap", "--plan", "--json").json["changes"]
    assert change == {
        "kind": "log group",
        "name": "/llm-tuning-lab/setup",
        "action": "update",
        "properties": [{"path": "retention days", "now": None, "wanted": 30}],
    }


@pytest.mark.slow  # two bootstraps
def test_what_was_given_is_remembered_when_the_bootstrap_fails(lab: CommandLine, lab_aws: "Aws", project: Path) -> None:
    """The natural second try makes the lab that was asked for, not another one."""
    with refusing(lab_aws, "lambda", "CreateFunction", "CodeStorageExceededException", "Code storage limit exceeded."):
        failed = lab("bootstrap", "--email", "me@example.org", "--budget", "77", "--github", "me/repo", "--yes")
    assert failed.code == ExitCode.FAILED
    settings = load({}, {}, project / "llmlab.toml").settings
    assert (settings.budget, settings.github, settings.email) == (77, "me/repo", "me@example.org")
    assert lab("bootstrap", "--yes").code == ExitCode.DONE
    assert lab("bootstrap", "--plan", "--budget", "77", "--github", "me/repo", "--email", "me@example.org").code == ExitCode.DONE


def test_a_refused_plan_remembers_nothing(lab: CommandLine, project: Path) -> None:
    assert lab("bootstrap", "--budget", "77").code == ExitCode.REFUSED
    assert list(project.iterdir()) == []


def test_what_was_given_is_remembered(lab: CommandLine, project: Path) -> None:
    assert lab("bootstrap", "--yes", "--budget", "70", "--github", "me/repo").code == ExitCode.DONE
    settings = load({}, {}, project / "llmlab.toml").settings
    assert (settings.budget, settings.github, settings.email) == (70, "me/repo", None)


def test_a_new_lab_is_planned_in_a_paragraph_and_in_full_where_asked_for(lab: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Names are for `--plan`, on one screen, and properties for `-v`, in words rather than in AWS's documents."""
    short, long, asked = lab("bootstrap"), lab("bootstrap", "-v"), lab("bootstrap", "--plan", "-v")
    monkeypatch.setenv("COLUMNS", "80")
    names = lab("bootstrap", "--plan", "--email", "me@example.org", "--github", "me/repository", shown=True)
    assert names.err.splitlines() == [
        "-v shows the properties of each",
        "next: llmlab bootstrap --email me@example.org --github me/repository",
    ]
    assert "llm-tuning-lab-data-123456789012-us-east-1" in names.out
    assert "llm-tuning-lab-us-east-1-instance" in names.out
    assert 24 < len(names.out.splitlines()) < 37
    assert "data bucket, outputs bucket, 2 x image repository" in short.err
    assert len(short.err.splitlines()) < 10
    assert "    versioning: Enabled" not in short.err.splitlines()
    for words in (long.err, asked.out):
        assert "+ data bucket llm-tuning-lab-data-123456789012-us-east-1" in words.splitlines()
        assert "    versioning: Enabled" in words.splitlines()
        assert "    TLS only: deny: TlsOnly" in words.splitlines()
        assert "    lifecycle: keep 3 untagged, keep 10 tagged" in words.splitlines()
        assert not [line for line in words.splitlines() if "{" in line or "[" in line or line.endswith("items")]


def test_bootstrap_asks(lab: CommandLine, recorder: list[str]) -> None:
    for result in (lab("bootstrap"), lab("bootstrap", answer="n\n")):
        assert result.code == ExitCode.REFUSED
        assert "to create" in result.err
        assert result.out == ""
    assert lab("bootstrap", "--email", "a b@x.org", "--json").hint == "llmlab bootstrap --email 'a b@x.org' --json --yes"
    assert not [call for call in recorder if not call.partition(":")[2].startswith(("Describe", "Get", "List"))]
    assert lab("bootstrap", answer="y\n").code == ExitCode.DONE


def test_bad_settings(llmlab: CommandLine) -> None:
    for arguments, words in (
        (("--budget", "0"), "budget cannot be"),
        (("--github", "not a repository"), "github cannot be"),
        (("--vpc-id", "vpc-1"), "needs --vpc-id and at least one --subnet-id"),
        (("--subnet-id", "subnet-1"), "needs --vpc-id and at least one --subnet-id"),
        (("--lab", "X"), "lab cannot be"),
    ):
        result = llmlab("bootstrap", "--plan", *arguments)
        assert result.code == ExitCode.USAGE, arguments
        assert words in result.error
        assert result.hint


def test_a_stranger_with_our_name_is_told_with_the_way_out(lab: CommandLine, lab_aws: "Aws") -> None:
    lab_aws.client("logs").create_log_group(logGroupName="/llm-tuning-lab/setup")
    result = lab("bootstrap", "--yes")
    assert result.code == ExitCode.REFUSED
    assert result.error == "log group /llm-tuning-lab/setup exists and does not belong to this lab"
    assert result.hint == "LLMLAB_LAB=another-name llmlab bootstrap --yes"


def test_doctor_exit_code_and_hints(lab: CommandLine) -> None:
    result = lab("doctor", "--json")
    assert result.code == ExitCode.FAILED
    failed = [check for check in result.json["checks"] if check["health"] == "failed"]
    assert {check["name"] for check in failed} == {"resources", "image", "spot role"}
    words = lab("doctor").out
    assert "mend: llmlab bootstrap" in words


@pytest.mark.slow
def test_what_a_variable_gave_a_lab_is_remembered_so_that_the_cure_of_the_check_up_lasts(lab: CommandLine, project: Path) -> None:
    """What `doctor` says of an AMI that ends, and nothing differs afterwards."""
    lab("bootstrap", "--yes")
    lab.environment = {"LLMLAB_UBUNTU": "24.04", "LLMLAB_MAX_HOURS": "3", "LLMLAB_REGION": "us-east-1"}
    assert "llmlab.toml: ubuntu, max_hours remembered" in lab("bootstrap", "--yes").err
    lab.environment = {}
    assert (project / "llmlab.toml").read_text().splitlines()[1:] == ['ubuntu = "24.04"', "max_hours = 3.0"]
    assert lab("bootstrap", "--plan").code == ExitCode.DONE


def test_teardown_asks_and_keeps_results(lab: CommandLine) -> None:
    lab("bootstrap", "--yes")
    refused = lab("teardown")
    assert refused.code == ExitCode.REFUSED
    assert "VPC" in refused.err
    result = lab("teardown", "--yes", "--json")
    assert result.code == ExitCode.DONE
    assert result.json["left"] == []
    assert result.json["kept"] == ["outputs bucket llm-tuning-lab-outputs-123456789012-us-east-1"]
    assert result.json["shared"] == ["service-linked role AWSServiceRoleForEC2Spot"]
    words = "of the account, not of the lab, so it stays: service-linked role AWSServiceRoleForEC2Spot"
    assert words in " ".join(lab("teardown", "--yes").out.split())


def test_what_would_go_is_a_paragraph_and_what_holds_something_has_its_name() -> None:
    gone = [Leftover("subnet", f"subnet-{number}") for number in range(12)]
    gone += [Leftover("VPC", "vpc-1"), Leftover("instance", "i-1"), Leftover("data bucket", "d"), Leftover("secret", "lab/hf-token")]
    out = io.StringIO()
    for part in going_view(gone, names=False):
        Ui(stderr=out).tell(part)
    assert out.getvalue().splitlines() == ["- 12 x subnet, VPC", "- instance i-1", "- data bucket d", "- secret lab/hf-token"]
    for few, names in ((gone, True), (gone[-4:], False)):
        (every,) = going_view(few, names=names)
        assert isinstance(every, Table)
        assert every.row_count == len(few)


@pytest.mark.slow  # two teardowns
def test_everything_wants_the_name_typed(lab: CommandLine) -> None:
    lab("bootstrap", "--yes")
    for result, hint in (
        (lab("teardown", "--everything", "--yes"), "llmlab teardown --everything --yes --confirm llm-tuning-lab"),
        (lab("teardown", "--everything", "--confirm", "another"), "llmlab teardown --everything --confirm llm-tuning-lab"),
        (lab("teardown", "--everything", answer="yes\n"), ""),
    ):
        assert (result.code, result.hint) == (ExitCode.REFUSED, hint)
    assert lab("teardown", "--everything", answer="llm-tuning-lab\n").code == ExitCode.DONE
    assert lab("teardown", "--everything", "--confirm", "llm-tuning-lab", "--json").json["deleted"] == []


@pytest.mark.slow
def test_what_cannot_be_removed_is_told(lab: CommandLine, lab_aws: "Aws") -> None:
    """Somebody's subnet in our network: exit 1, which one it is, and the command that ends it."""
    lab("bootstrap", "--yes")
    vpc = lab_aws.ec2.describe_vpcs(Filters=[{"Name": "tag:Lab", "Values": ["llm-tuning-lab"]}])["Vpcs"][0]["VpcId"]
    subnet = lab_aws.ec2.create_subnet(VpcId=vpc, CidrBlock="10.1.200.0/24")["Subnet"]["SubnetId"]
    result = lab("teardown", "--yes")
    assert result.code == ExitCode.FAILED
    assert result.error == f"subnet {subnet} is still in {vpc}"
    assert result.hint == f"aws ec2 delete-subnet --subnet-id {subnet} --region us-east-1"
    assert f"left: VPC {vpc}\n      mend: llmlab teardown\n" in result.out
    lab_aws.ec2.delete_subnet(SubnetId=subnet)
    assert lab("teardown", "--yes").code == ExitCode.DONE
