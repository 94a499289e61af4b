"""What the tests' ledger of hints refuses: without these it would hold whatever is shown."""

import shlex

import pytest

from llmlab.errors import ExitCode, UsageError
from tests.hint_lines import options, parsed
from tests.hints import LIMITS, Ledger, lost_limits

PARSE = (
    "llmlab launch --spot --set lora.rank=8 --max-hours 6",
    "llmlab secret set hf-token < token.txt",
    "LLMLAB_UBUNTU=24.04 llmlab bootstrap",
    "llmlab bootstrap --plan -v  # shows the properties of each",
    "rm -r llmlab-demo && llmlab demo",
    "aws ec2 terminate-instances --instance-ids i-1 --region us-east-1",
    "aws ec2 describe-route-tables --filters Name=vpc-id,Values=vpc-1",
    "aws ec2 modify-subnet-attribute --subnet-id subnet-1 --map-public-ip-on-launch",
    "aws ec2 describe-subnets",
    "aws organizations describe-organization",
    "aws s3 ls s3://bucket/key --human-readable",
    "pip install pyarrow",
    "python3 -m webbrowser https://example.org",
    "unset LLMLAB_REGION",
)
DO_NOT = (
    "llmlab lunch",
    "llmlab launch --max-hour 6",
    "llmlab launch --max-hours many",
    "llmlab stop",
    "llmlab launch --data it's",
    "LLMLAB_UBUNTO=24.04 llmlab bootstrap",
    "rm -r llmlab-demo && llmlab demmo",
    "aws ec2 terminate-instance --instance-ids i-1",
    "aws ec2 terminate-instances --instances i-1",
    "aws ec2 terminate-instances",
    "aws ec2 describe-route-tables --filters Names=vpc-id",
    "aws kms create-grant --key-id $(aws ec2 get-ebs-key) --grantee-principal arn --operations Decrypt",
    "pip install --no-such-option x",
    "pip install 'llmlab[sandbox]'",
    "curl example.org",
    "look at the documentation",
)


@pytest.mark.parametrize("line", PARSE)
def test_a_line_that_somebody_can_run(line: str) -> None:
    assert parsed("hint", line).line == line


@pytest.mark.parametrize("line", DO_NOT)
def test_a_line_that_nobody_can_run(line: str) -> None:
    with pytest.raises(AssertionError):
        parsed("hint", line)


LAUNCH = "launch --spot --max-cost 5 --data nope --dry-run"


@pytest.mark.parametrize(
    ("words", "kind", "line", "lost"),
    [
        (LAUNCH, "hint", "llmlab launch --data demo", {"--spot", "--max-cost", "--dry-run"}),
        (LAUNCH, "hint", "llmlab launch --spot --max-cost 5 --data demo --dry-run", set()),
        (LAUNCH, "next", "llmlab launch --spot --max-cost 5 --data nope", set()),
        (LAUNCH, "hint", "llmlab launch --on-demand --max-cost 5 --dry-run", set()),
        (LAUNCH, "hint", "llmlab upload data/", set()),
        (LAUNCH, "hint", "llmlab launch --help", set()),
        ("estimate --spot", "next", "llmlab launch", {"--spot"}),
        ("bootstrap --plan --budget 5", "next", "llmlab bootstrap", {"--budget"}),
        ("--profile p --region r doctor", "mend", "LLMLAB_UBUNTU=24.04 llmlab --region r bootstrap", {"--profile"}),
    ],
)
def test_what_a_line_lost(words: str, kind: str, line: str, lost: set[str]) -> None:
    assert lost_limits(words.split(), kind, line) == lost


def test_what_limits_are_options_of_the_commands() -> None:
    every = options(("launch",)) | options(("bootstrap",)) | options(("resume",))
    assert every >= LIMITS
    assert {name for name in every if name.startswith("--max")} <= LIMITS


@pytest.mark.parametrize(
    ("words", "err"),
    [
        ("launch --spot", "error: no\nhint: llmlab launch\n"),
        ("doctor", "        mend: llmlab --region us-east-1\n"),
        ("launch", "error: no\nhint: llmlab launch --yes\n"),
        ("launch", "next: llmlab lunch\n"),
        ("upload 'my data'", "next: llmlab upload my data --skip-bad\n"),
    ],
)
def test_a_command_line_that_shows_a_wrong_line_fails(words: str, err: str) -> None:
    with pytest.raises(AssertionError):
        Ledger().shown(shlex.split(words), ExitCode.FAILED, "", err)
    with pytest.raises(AssertionError):
        Ledger().shown(words.split(), ExitCode.FAILED, '{"a": [{"hint": "llmlab launch --yes"}]}', "")


def test_an_error_with_a_wrong_hint_fails_the_test_that_made_it() -> None:
    ledger = Ledger()
    ledger.made(UsageError("no", "llmlab lunch").hint)
    with pytest.raises(AssertionError, match="lunch"):
        ledger.verify()
    ledger.verify()
    assert not ledger.heard


def test_the_counts() -> None:
    ledger = Ledger()
    ledger.made("llmlab launch --spot")
    ledger.shown(["status"], ExitCode.DONE, "", "next: llmlab logs latest -f\n")
    other = Ledger()
    other.take(ledger.packed())
    assert other.counts() == ledger.counts() == "2 lines in 2 forms, 1 of them shown; llmlab 2; 2 commands of ours; none was run"
