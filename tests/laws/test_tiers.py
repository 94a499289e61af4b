"""What each part of the tests may cost: the unit tests need no account of moto's."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
ACCOUNTS = {"lab_aws", "_aws", "sandbox", "_sandbox", "recorder"}
"""Fixtures that give one."""
MOTO = ("moto", *(f"llmlab.sandbox.{name}" for name in ("catalogue", "completion", "market", "server", "simulation.moto_cloud")))


def needs(source: str) -> Iterator[str]:
    """What a test module asks of moto: fixtures by name, modules by import."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.arg) and node.arg in ACCOUNTS:
            yield node.arg
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in {"usefixtures", "getfixturevalue"}:
            yield from (name.value for name in node.args if isinstance(name, ast.Constant) and name.value in ACCOUNTS)
        elif isinstance(node, ast.Import):
            yield from (name.name for name in node.names if name.name.startswith(MOTO))
        elif isinstance(node, ast.ImportFrom):
            yield from (full for name in node.names if (full := f"{node.module}.{name.name}").startswith(MOTO))


def test_no_unit_test_needs_moto() -> None:
    """A test on it costs hundreds of times as much: it belongs in `laws`, `cli` or `sandbox`, or on `simulation`'s account in memory."""
    files = sorted((TESTS / "unit").rglob("*.py"))
    assert len(files) > 30
    assert {path.name: found for path in files if (found := sorted(set(needs(path.read_text(encoding="utf-8")))))} == {}


@pytest.mark.parametrize(
    "source",
    ["import moto", "from moto.ec2.models import ec2_backends", "def test(lab_aws): ...", "from llmlab.sandbox import market",
     "@pytest.mark.usefixtures('lab_aws')\ndef test(): ..."],
)  # fmt: skip
def test_each_way_to_ask_for_moto_is_seen(source: str) -> None:
    assert list(needs(source))
