"""How the code calls things: no placeholders, no two classes of one name, no file that is two."""

import ast
import re
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import llmlab

SOURCE = Path(llmlab.__file__).parent
PLACEHOLDERS = frozenset({"asked", "found", "given", "it", "made", "one", "ones", "said", "stuff", "there", "thing", "told"})
"""Names of anything: what has a name of its own in the field, or in its function, is called by that."""
MOST_PLACEHOLDERS, MOST_TWINS = 30, 5
LONGEST_FILE = 400
LONG = {"sandbox/programs/docker.py"}
"""A program of its own, which imports little of the rest."""
PUZZLES = ("what both", "whatever is", "whoever", "what there is", "who does not")
"""How a sentence without a noun begins: the first line of a docstring says what a thing is, to somebody who has read nothing else."""


@cache
def trees() -> tuple[tuple[str, ast.Module], ...]:
    """Every file of the package with its syntax tree."""
    files = sorted(SOURCE.rglob("*.py"))
    return tuple((path.relative_to(SOURCE).as_posix(), ast.parse(path.read_text(encoding="utf-8"))) for path in files)


def bound(tree: ast.Module) -> Iterator[str]:
    """Names of variables and arguments."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id
        elif isinstance(node, ast.arg):
            yield node.arg


def test_variables_and_arguments_are_called_what_they_are() -> None:
    names = [(path, name) for path, tree in trees() for name in bound(tree)]
    assert len(names) > 10_000
    placeholders = [(path, name) for path, name in names if name in PLACEHOLDERS]
    assert len(placeholders) <= MOST_PLACEHOLDERS, Counter(placeholders)


def test_a_class_is_known_by_its_name() -> None:
    names = Counter(node.name for _, tree in trees() for node in ast.walk(tree) if isinstance(node, ast.ClassDef))
    assert len(names) > 400
    twins = sorted(name for name, count in names.items() if count > 1)
    assert len(twins) <= MOST_TWINS, twins


def test_a_package_names_modules_that_exist() -> None:
    """What `trainer` and its packages say of their order, module by module."""
    modules = {path.stem for path in SOURCE.rglob("*.py")} | {path.name for path in SOURCE.rglob("*") if path.is_dir()}
    packages = [(path, ast.get_docstring(tree) or "") for path, tree in trees() if re.fullmatch(r"trainer/(\w+/)?__init__\.py", path)]
    named = [(path, name) for path, words in packages for name in re.findall(r"`([a-z_]+)`", words)]
    assert len(named) > 30
    assert [(path, name) for path, name in named if name not in modules] == []


def test_no_file_is_two() -> None:
    lengths = {path.relative_to(SOURCE).as_posix(): len(path.read_text(encoding="utf-8").splitlines()) for path in SOURCE.rglob("*.py")}
    assert [path for path, lines in lengths.items() if lines > LONGEST_FILE and path not in LONG] == []
    assert {path for path in LONG if lengths[path] > LONGEST_FILE} == LONG, "no longer long"


def test_the_first_line_of_a_public_docstring_is_a_sentence_with_a_noun() -> None:
    first = [
        (path, node.name, (ast.get_docstring(node) or "").splitlines()[:1])
        for path, tree in trees()
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef | ast.FunctionDef) and not node.name.startswith("_")
    ]
    assert len(first) > 2000
    assert [(path, name, line[0]) for path, name, line in first if line and line[0].lower().startswith(PUZZLES)] == []
