"""What each part of the tests may cost, and that `make test` keeps one of each."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
ACCOUNTS = {"lab_aws", "_aws", "sandbox", "_sandbox", "recorder"}
"""Fixtures that give one."""
SANDBOX = ("catalogue", "completion", "market", "server")
MOTO = ("moto", *(f"llmlab.sandbox.{name}" for name in SANDBOX), "tests.simulation.moto_cloud")


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
    assert {str(path): found for path in files if (found := sorted(set(needs(path.read_text(encoding="utf-8")))))} == {}


@pytest.mark.parametrize(
    "source",
    ["import moto", "from moto.ec2.models import ec2_backends", "def test(lab_aws): ...", "from llmlab.sandbox import market",
     "@pytest.mark.usefixtures('lab_aws')\ndef test(): ..."],
)  # fmt: skip
def test_each_way_to_ask_for_moto_is_seen(source: str) -> None:
    assert list(needs(source))


KEPT = (
    "tests/fuzz/test_corpus.py::test_every_input_keeps_its_laws",
    "tests/laws/test_plan.py::test_apply_then_plan_is_empty_and_the_second_bootstrap_writes_nothing",
    "tests/laws/test_repair.py::test_each_property_spoiled_is_named_and_repaired[network and buckets]",
    "tests/laws/test_repair.py::test_losing_any_one_is_repaired[network and buckets]",
    "tests/laws/test_teardown.py::test_everything_leaves_nothing_at_all_and_again_is_no_error",
    "tests/sandbox/test_a_run.py::test_a_run_completes",
    "tests/simulation/test_schedules.py::test_nothing_is_violated_in_twenty",
    "tests/trainer/test_preferences.py::test_resumed_is_uninterrupted[lora]",
    "tests/trainer/test_resume.py::test_asked_to_leave_and_resumed",
    "tests/trainer/test_ways.py::test_each_way_learns_and_resumes[full]",
    "tests/trainer/test_yardstick.py::test_sft_is_trls[lora]",
)
"""What `make test` would prove too little without."""


def test_make_test_keeps_one_of_each(request: pytest.FixtureRequest) -> None:
    """Of the files that were collected: in `make test-all` these are all."""
    items = request.session.items
    files = {item.nodeid.partition("::")[0] for item in items}
    quick = [item.nodeid for item in items if not item.get_closest_marker("slow")]
    wanted = [kept for kept in KEPT if kept.partition("::")[0] in files]
    assert [kept for kept in wanted if not any(name.startswith(kept) for name in quick)] == []
