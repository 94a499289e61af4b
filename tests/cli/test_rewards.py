"""A reward tried on a dataset before a run, as typed."""

import json
from hashlib import sha256
from pathlib import Path

import pytest

from llmlab import recipe as recipes
from llmlab.aws import documents
from llmlab.aws.session import Aws
from llmlab.contract import RunKeys, Spec
from llmlab.errors import UsageError
from llmlab.ops.reward_trial import missing
from tests.cli.conftest import CommandLine

EXACT = "def reward(completions, answer, **columns):\n    return [float(one == right) for one, right in zip(completions, answer)]\n"


@pytest.fixture
def data(project: Path) -> Path:
    folder = project / "sums"
    folder.mkdir()
    rows = [{"prompt": f"{number} + 1?", "answer": number + 1} for number in range(3)]
    (folder / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in [*rows, {"messages": [
        {"role": "user", "content": "4 + 1?"}, {"role": "assistant", "content": "5"},
    ]}]))  # fmt: skip
    (project / "reward.py").write_text(EXACT)
    return folder


def test_validate_tries_a_reward_on_the_rows(llmlab: CommandLine, data: Path, project: Path) -> None:
    good = llmlab("validate", data, "--reward", project / "reward.py")
    assert good.code == 0, good.err
    assert "reward.py: mean 0.75 for the answers of 4 rows (0 to 1), 0 for an empty completion; 1 row gets the same for both" in good.out
    tried = llmlab("validate", data, "--reward", project / "reward.py", "--json").json["rewards"]
    assert tried["rewards"][0]["rows"] == 4
    assert (tried["rewards"][0]["mean"], tried["rewards"][0]["empty_mean"], tried["rewards"][0]["alike"]) == (0.75, 0, 1)
    assert len(tried["rewards"][0]["sha256"]) == 64
    assert llmlab("validate", data, "--json").json["rewards"] is None


def test_rewards_that_are_all_equal_are_said_before_a_run(llmlab: CommandLine, data: Path, project: Path) -> None:
    words = "no reward tells an answer from an empty completion, in 4 of 4 groups of the two: of a group whose completions all get the same"
    file = project / "reward.py"
    assert words not in llmlab("validate", data, "--reward", file).err
    file.write_text("def reward(completions, **columns):\n    return [0.5] * len(completions)\n")
    alike = llmlab("validate", data, "--reward", file)
    assert (alike.code, words in " ".join(alike.err.split())) == (0, True)


def test_a_reward_that_fails_is_told_with_the_row(llmlab: CommandLine, data: Path, project: Path) -> None:
    file = project / "reward.py"
    file.write_text("def reward(completions, **columns):\n    return [float(one) for one in completions]\n")
    bad = llmlab("validate", data, "--reward", file)
    assert bad.code == 1
    assert bad.error.startswith(f"the reward {file} raised an error: ValueError: could not convert string to float: ''")
    assert bad.error.endswith("in line 2 (train.jsonl:1, with an empty completion)")
    assert bad.hint == f"llmlab validate {data} --reward {file}"
    missing = llmlab("validate", data, "--reward", project / "none.py")
    assert (missing.code, missing.error) == (2, f"--reward names {project / 'none.py'}, and there is no such file")


def test_no_row_with_an_answer_is_told(llmlab: CommandLine, data: Path, project: Path) -> None:
    (data / "train.jsonl").write_text('{"text": "Once upon a time."}\n')
    none = llmlab("validate", data, "--reward", project / "reward.py")
    assert (none.code, none.error) == (1, f"no row of {data} has a prompt and an answer that a reward could be tried on")


RECIPE = (
    "model: lab:tiny\nobjective: grpo\nbatch_size: 8\ngrpo: {num_generations: 4, rewards: [exact_match, {file: reward.py, weight: 0.5}]}\n"
)


def test_validate_tries_the_rewards_of_the_recipe_at_hand(llmlab: CommandLine, data: Path, project: Path) -> None:
    (project / "recipe.yaml").write_text(RECIPE)
    good = llmlab("validate", data)
    assert good.code == 0, good.err
    for name in ("exact_match", "reward.py"):
        assert f"{name}: mean" in good.out
    (project / "reward.py").write_text("def reward(completions):\n    return [None] * len(completions)\n")
    bad = llmlab("validate", data)
    assert (bad.code, bad.error) == (1, "the reward reward.py returned None for completion 1, which is no finite number (train.jsonl:1)")


@pytest.mark.slow  # needs a lab, and the quick tests of launch have one of each other part of a spec
def test_a_reward_travels_in_the_spec_with_its_sha_256(ready: CommandLine, lab_aws: Aws, data: Path, project: Path) -> None:
    (project / "recipe.yaml").write_text(RECIPE.replace("lab:tiny", "some/model-1b"))
    assert ready("upload", data).code == 0
    told = " ".join(ready("estimate", "--data", "sums").out.split())
    assert "right within a factor of 3" in told
    assert "generation" in told
    done = ready("launch", "--data", "sums", "--yes", "--instance-type", "g6.xlarge", "--json")
    assert done.code == 0, done.err
    spec = documents.read(lab_aws, Spec, lab_aws.names.outputs_bucket, RunKeys(done.json["run"]).spec)
    assert spec is not None
    carried = spec.recipe["grpo"]["rewards"][1]["file"]
    assert carried == {"file": "reward.py", "text": EXACT, "sha256": sha256(EXACT.encode()).hexdigest()}
    assert recipes.check(spec.recipe).shown()["grpo"]["rewards"] == ["exact_match", {"file": "reward.py", "weight": 0.5}]
    carried["text"] += "#"
    with pytest.raises(UsageError, match=r"must have the SHA-256 of the text of reward\.py"):
        recipes.check(spec.recipe)


def test_a_reward_elsewhere_is_not_sent(llmlab: CommandLine, data: Path, project: Path) -> None:
    (project / "recipes").mkdir()
    (project / "recipes" / "mine.yaml").write_text(RECIPE.replace("file: reward.py", "file: ../reward.py"))
    refused = llmlab("validate", data, "--recipe", "recipes/mine.yaml")
    assert (refused.code, refused.error) == (2, "grpo.rewards names ../reward.py, which does not lie beside mine.yaml")
    assert refused.hint == "${EDITOR:-vi} recipes/mine.yaml"


def test_a_schema_needs_its_package_which_is_said() -> None:
    asked = [{"kind": "json_schema", "schema": {}}]
    assert missing(asked, lambda _name: None).startswith("json_schema needs the package jsonschema: pip install")
    assert missing(asked) == missing([{"kind": "similarity"}], lambda _name: None) == ""
