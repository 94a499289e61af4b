"""Names that two programs share are spelled in `contract` alone."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from llmlab import contract
from llmlab.contract import Env, Metric, RunKeys, WorkFolder

ROOT = Path(__file__).parents[2]
RUN = "20260101-000000-abcd"
KEYS = RunKeys(RUN)
WORK = WorkFolder("/work")
NAMES = [KEYS.spec, KEYS.status, KEYS.stop, WORK.request, WORK.progress, WORK.outcome, WORK.training_exit]
LITERALS = {name.rpartition("/")[2] for name in NAMES} | {
    contract.PROJECT,
    contract.METRICS_FILE,
    contract.COMPLETE,
    contract.SUCCESS,
    contract.FAILURE,
    contract.RUNS,
    contract.ENDED,
    contract.DATASETS,
    contract.MODELS,
    *(str(one) for one in Env),
    *(str(one) for one in Metric if len(one) > 5),  # Loss and Step are words too
}
"""What may stand nowhere else as a whole string, or as a part of a path."""
ALLOWED = {
    ("sandbox/programs/docker.py", "spec.json"): "the stand-in's own file for a container",
    ("trainer/run.py", "spec.json"): "a word in a sentence",
    ("infra/resource.py", "LLMLAB_LAB"): "the setting of that name, in a hint",
}
LOCAL = re.compile(r"\{\{.*?\}\}|\$scratch/[\w.]+")
"""What is filled in, and a script's own scratch files."""


def spelled(text: str) -> set[str]:
    """The literals in a string: the whole of it, or a part between slashes."""
    parts = {text, *re.split(r"[/\s'\"=]+", text)}
    return {literal for literal in LITERALS if literal in parts or (literal.endswith("/") and text.startswith(literal))}


def strings(path: Path) -> Iterator[tuple[int, str]]:
    """Every string of a module that is no docstring."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    documentation = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in documentation:
            yield node.lineno, node.value


def test_nobody_else_spells_the_contracts_names() -> None:
    modules = [path for path in (ROOT / "src/llmlab").rglob("*.py") if path.parent.name != "contract"]
    assert len(modules) > 100
    found = [
        f"{path.relative_to(ROOT)}:{line}: {name}"
        for path in modules
        for line, text in strings(path)
        for name in spelled(text)
        if not any(part in str(path) and name == allowed for part, allowed in ALLOWED)
    ]
    assert not found, "\n".join(found)


def test_neither_does_a_template_or_the_dockerfile() -> None:
    files = [*(ROOT / "templates").iterdir(), *(ROOT / "docker").glob("Dockerfile*")]
    assert len(files) >= 3
    found = [
        f"{path.name}:{number}: {name}"
        for path in files
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        for name in LITERALS
        if re.search(rf"(?<![\w$.-]){re.escape(name)}(?![\w=-])", LOCAL.sub("", line.partition("# ")[0]))
    ]
    assert not found, "\n".join(found)
