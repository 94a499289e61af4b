"""What SECURITY.md says is held is held by a test that exists, and code that is known to run others' code is nowhere."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests import secrets

ROOT = Path(__file__).parents[2]
NAMED = re.compile(r"`(tests/[\w/]+\.py)(?:::(\w+))?`")
REWARD = "src/llmlab/rewards/child.py"
SAFE_LOADERS = {"safe_load", "safe_dump", "YAMLError"}


def calls(tree: ast.AST) -> Iterator[tuple[ast.Call, str]]:
    """Every call with the dotted name of what is called."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            yield node, ast.unparse(node.func).partition("(")[0]


def wrongs(text: str) -> list[str]:
    """The places of a module that would run what is in a file they read."""
    tree = ast.parse(text)
    found = [f"{call.lineno}: trust_remote_code" for call, _ in calls(tree) for word in call.keywords if word.arg == "trust_remote_code"]
    for call, name in calls(tree):
        safe = any(word.arg == "weights_only" and ast.unparse(word.value) == "True" for word in call.keywords)
        if name == "torch.load" and not safe:
            found.append(f"{call.lineno}: torch.load without weights_only=True")
        if name.startswith("yaml.") and name.removeprefix("yaml.") not in SAFE_LOADERS:
            found.append(f"{call.lineno}: {name}")
        if name in {"eval", "exec", "os.system"} or any(word.arg == "shell" for word in call.keywords):
            found.append(f"{call.lineno}: {name} runs text")
    for node in ast.walk(tree):
        modules = [one.name for one in node.names] if isinstance(node, ast.Import) else [getattr(node, "module", "") or ""]
        if isinstance(node, ast.Import | ast.ImportFrom) and {"pickle", "marshal", "shelve", "dill"} & set(modules):
            found.append(f"{node.lineno}: pickles")
    return found


def test_nothing_that_is_read_is_run() -> None:
    modules = sorted((ROOT / "src/llmlab").rglob("*.py"))
    assert len(modules) > 200
    found = [f"{path.relative_to(ROOT)}:{wrong}" for path in modules for wrong in wrongs(path.read_text(encoding="utf-8"))]
    others = [one for one in found if not one.startswith(f"{REWARD}:")]
    assert not others, "\n".join(others)
    assert [one.rpartition(": ")[2] for one in found] == ["exec runs text"]


def test_a_rewards_file_runs_only_where_it_is_held() -> None:
    """The one text that is run, since to run it is what it is for: in a process that has given up everything before."""
    order = [
        name for _, name in sorted((call.lineno, name) for call, name in calls(ast.parse((ROOT / REWARD).read_text(encoding="utf-8"))))
    ]
    assert order.count("_of_file") == order.count("confine") == order.count("exec") == 1
    assert order.index("confine") < order.index("_of_file") < order.index("exec")


@pytest.mark.parametrize(
    "planted",
    [
        "model = AutoModel.from_pretrained(name, trust_remote_code=True)", "weights = torch.load(path)", "import pickle",
        "torch.load(path, weights_only=False)", "yaml.load(text, Loader=yaml.Loader)", "eval(text)", "subprocess.run(text, shell=True)",
        "from pickle import loads",
    ],
)  # fmt: skip
def test_each_way_to_run_it_is_found(planted: str) -> None:
    assert len(wrongs(planted)) == 1


def test_every_test_that_the_threat_model_names_exists() -> None:
    names = NAMED.findall((ROOT / "SECURITY.md").read_text(encoding="utf-8"))
    assert len(names) > 20
    for path, name in names:
        text = (ROOT / path).read_text(encoding="utf-8")
        assert not name or f"def {name}(" in text, f"{path}::{name}"


def test_the_locks_say_the_same_and_every_package_has_a_hash() -> None:
    versions = dict(line.split(" ")[0].split("==") for line in (ROOT / "requirements.lock").read_text().splitlines() if "==" in line)
    wanted = {plain(name): version for name, version in versions.items()}
    locks = sorted((ROOT / "locks").glob("*.lock"))
    assert len(locks) == 6
    for lock in locks:
        requirements = re.split(r"\n(?=[A-Za-z])", lock.read_text(encoding="utf-8").partition("\n")[2].strip())
        assert requirements
        for requirement in requirements:
            name, _, rest = requirement.partition("==")
            assert "--hash=sha256:" in requirement, f"{lock.name}: {name}"
            assert wanted.get(plain(name), rest.split()[0]) == rest.split()[0], f"{lock.name}: {name}"


def test_the_image_installs_by_hash_alone() -> None:
    text = (ROOT / "docker/Dockerfile").read_text(encoding="utf-8").replace("\\\n", " ")
    installs = re.findall(r"pip install ([^&;]*)", text)
    assert len(installs) == 4
    assert [one for one in installs if "--require-hashes" not in one or "--no-deps" not in one] == []


def plain(name: str) -> str:
    """A package's name as indexes compare it, without its extras."""
    return re.sub(r"[-_.]+", "-", name.partition("[")[0]).lower()


def workflows() -> list[Path]:
    return [*sorted((ROOT / ".github/workflows").glob("*.yml")), ROOT / "templates/build-push-ecr.yml.j2"]


def test_workflows_have_the_least_permissions_and_pinned_actions() -> None:
    assert len(workflows()) == 3
    for path in workflows():
        text = path.read_text(encoding="utf-8")
        assert "\npermissions: {}\n" in text, path
        actions = re.findall(r"uses: (\S+)", text)
        assert actions
        assert all(re.fullmatch(r"[\w./-]+@[0-9a-f]{40}", action) for action in actions), path


def test_no_script_of_a_workflow_has_an_expression_in_it() -> None:
    """What others may name, a branch for one, would be run."""
    for path in sorted((ROOT / ".github/workflows").glob("*.yml")):
        jobs = yaml.safe_load(path.read_text(encoding="utf-8"))["jobs"]
        scripts = [step["run"] for job in jobs.values() for step in job["steps"] if "run" in step]
        assert not [script for script in scripts if "${{" in script], path


def test_the_workflow_builds_with_the_arguments_that_the_dockerfile_has() -> None:
    """`llmlab image` is held to the same ones in tests/unit/ops/test_image.py."""
    steps = yaml.safe_load((ROOT / ".github/workflows/build-push-ecr.yml").read_text(encoding="utf-8"))["jobs"]["image"]["steps"]
    agent, given = [step["with"]["build-args"] for step in steps if "build-args" in step.get("with", {})]
    assert agent == given, "the agent's image says the same of itself"
    text = (ROOT / "docker/Dockerfile").read_text(encoding="utf-8")
    declared = {word.partition("=")[0] for line in re.findall(r"^ARG (.*)", text, re.MULTILINE) for word in line.split()}
    passed = {line.partition("=")[0] for line in given.split("\n") if line}
    assert {"BASE_IMAGE", "GIT_SHA", "SOURCE", "CREATED", "VERSION"} <= passed <= declared


PLANTED = [
    "key = 'AKIA" + "QYLPMN5HFIQR7XYA'", "-----BEGIN RSA " + "PRIVATE KEY-----", "token: hf_" + "a1B2" * 8,
    "ghp_" + "a1B2c3D4e5" * 3 + "a1B2c3",
]  # fmt: skip
"""In two parts each, so that this file's own history has none."""


@pytest.mark.parametrize("planted", PLANTED)
def test_a_secret_would_be_seen(planted: str) -> None:
    from detect_secrets.settings import transient_settings

    with transient_settings({"plugins_used": secrets.PLUGINS}):
        assert secrets.suspicious(planted)
        assert not secrets.suspicious("digest = sha256:6746dbcbeb526eb61330b76b41ff1b4eb848951103a892eeb080dfa2b264667b")


BARE_NAME = re.compile(
    r"(?:pip3?|pipx|uv tool|uv pip|uvx?) (?:install|run)?[^\n]*?(?<![\w./-])llmlab(?:\[[a-z,]+\])?(?:[=<>~!]=[^\s'\"]*)?(?=['\"\s`]|$)"
)
"""An installer that is told to take llmlab from an index: nobody publishes it there, so it would take whatever somebody else registers."""


def test_nothing_installs_llmlab_by_its_bare_name() -> None:
    for planted in ("pip install llmlab", "pip install 'llmlab[sandbox]'", "pip install --quiet llmlab==0.1.0", "pipx install llmlab"):
        assert BARE_NAME.search(planted), planted
    for right in ("pip install .", "pip install --requirement .github/llmlab/requirements.lock", "pip install boto3 && llmlab status"):
        assert not BARE_NAME.search(right.split("&&")[0]), right
    folders = ("src", "templates", "docs", "docker", ".github", "benchmarks", "recipes", ".ci")
    files = [path for folder in folders for path in (ROOT / folder).rglob("*") if path.is_file() and path.suffix not in {".pyc", ".png"}]
    files += [ROOT / name for name in ("README.md", "SECURITY.md", "CONTRIBUTING.md", "ARCHITECTURE.md", "Makefile", "CHANGELOG.md")]
    assert len(files) > 400
    named = [
        f"{path.relative_to(ROOT)}: {hit.group()}"
        for path in files
        for line in path.read_text(encoding="utf-8", errors="replace").splitlines()
        if (hit := BARE_NAME.search(line.split("&&")[0]))
    ]
    assert named == []
