"""report: the page of a run, from what the run left, and the charts' arithmetic."""

import json
import math
import re
from pathlib import Path

import pytest
from hypothesis import given, strategies as st

from llmlab.aws import documents
from llmlab.aws.session import Aws
from llmlab.contract import METRICS_FILE, DataFile, EndReason, Manifest, Marker, RunKeys, Spec
from llmlab.errors import ExitCode
from llmlab.ops import svg_chart
from tests.cli.conftest import CommandLine, assert_runs

RUN = "20261120-100000-abcd"
KEYS = RunKeys(RUN)
SPEC = Spec(
    run=RUN,
    lab="llm-tuning-lab",
    region="us-east-1",
    account="123456789012",
    recipe={"method": "lora", "model": "<script>alert(1)</script>", "lora": {"rank": 16}, "max_steps": None},
    data=Manifest("demo", (DataFile("a.jsonl", 1234, "x"),), "2026-11-20T10:00:00Z", {"examples": 400}),
    image="registry/repository@sha256:0",
    ami="ami-1",
    launch_template="lt",
    pools=(),
    spot=True,
    max_hours=1,
    created="2026-11-20T10:00:00Z",
)


def leave(aws: Aws, rows: list[dict[str, object]]) -> None:
    bucket = aws.names.outputs_bucket
    aws.s3.create_bucket(Bucket=bucket)
    documents.write(aws, bucket, KEYS.spec, SPEC)
    documents.write(aws, bucket, KEYS.success, Marker(RUN, EndReason.COMPLETED, "2026-11-20T11:00:00Z", 1, total_steps=3))
    text = "".join(json.dumps(row) + "\n" for row in rows) + '{"step": 4, "lo'
    aws.s3.put_object(Bucket=bucket, Key=KEYS.output + METRICS_FILE, Body=text.encode())


def test_the_page_is_whole_and_stands_alone(lab: CommandLine, lab_aws: Aws, project: Path) -> None:
    leave(lab_aws, [{"step": step, "loss": 3.0 / step, "learning_rate": 1e-4, "tokens_per_second": 900} for step in (1, 2, 3)])
    result = lab("report", "--json")
    assert result.code == ExitCode.DONE
    assert (result.json["first_loss"], result.json["last_loss"], result.json["state"]) == (3.0, 1.0, "succeeded")
    page = (project / result.json["path"]).read_text(encoding="utf-8")
    assert page.count("<polyline") == 3
    assert not re.search(r"https?://|<link|<script|src=", page), "the page asks the network, or runs what a recipe says"
    assert "&lt;script&gt;" in page


def test_rewards_and_margins_are_drawn_beside_the_loss(lab: CommandLine, lab_aws: Aws, project: Path) -> None:
    rows: list[dict[str, object]] = [{"step": 0, "eval_loss": -0.25, "eval_reward": 0.25}]
    rows += [{"step": step, "loss": 0.0, "reward": 0.25 * step, "margin": 0.5 * step, "eval_margin": step} for step in (1, 2, 3)]
    leave(lab_aws, [*rows, {"step": 4, "eval_reward": 0.75}])
    result = lab("report", "--json")
    assert {name: result.json[name] for name in ("objective", "first_reward", "last_reward", "first_margin", "last_margin")} == {
        "objective": "sft", "first_reward": 0.25, "last_reward": 0.75, "first_margin": 0.5, "last_margin": 1.5,
    }  # fmt: skip
    page = (project / result.json["path"]).read_text(encoding="utf-8")
    for title in ("Reward", "Reward on held-out prompts", "Margin of good over bad answers", "Margin on held-out examples"):
        assert f"<b>{title}</b>" in page
    assert '<span class="soft">reward</span><b>0.25 → 0.75</b>' in page
    assert '<span class="soft">margin</span><b>0.5 → 1.5</b>' in page


def test_a_run_that_has_not_logged_yet(lab: CommandLine, lab_aws: Aws, project: Path) -> None:
    leave(lab_aws, [])
    assert lab("report", RUN, "--output", "page.html").out == "page.html\n"
    assert "no step has been logged yet" in (project / "page.html").read_text(encoding="utf-8")


def test_the_page_is_shown_where_there_is_a_browser(lab: CommandLine, lab_aws: Aws, project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    leave(lab_aws, [])
    shown: list[str] = []
    monkeypatch.setattr("webbrowser.open", lambda address: bool(shown.append(address)) or len(shown) == 1)
    first = lab("report", RUN, "--output", "a page.html")
    assert (shown, first.err) == ([], f"next: llmlab report {RUN} --output 'a page.html' --open\n")
    assert_runs(first.err.removeprefix("next: ").strip())
    assert lab("report", RUN, "--output", "a page.html", "--open").err == ""
    assert shown == [(project / "a page.html").as_uri()]
    assert lab("report", RUN, "--open").err == "note: this computer has no browser to show it in\n"

    def missing(_address: str) -> bool:
        raise FileNotFoundError(2, "No such file or directory: 'elinks'")

    monkeypatch.setattr("webbrowser.open", missing)
    assert lab("report", RUN, "--open").err == "note: this computer has no browser to show it in\n"


@given(st.lists(st.floats(-1e9, 1e9), min_size=2, max_size=2000))
def test_every_line_stays_inside_its_chart(values: list[float]) -> None:
    drawn = svg_chart.line("x", list(enumerate(values)))
    assert drawn is not None
    points = [tuple(map(float, point.split(","))) for point in drawn.points.split()]
    assert len(points) <= svg_chart.MOST_POINTS
    assert all(-0.1 <= x <= svg_chart.WIDTH + 0.1 and -0.1 <= y <= svg_chart.HEIGHT + 0.1 for x, y in points)


def test_one_value_or_none_is_no_line() -> None:
    assert svg_chart.line("x", [(1, 2.0)]) is None
    assert svg_chart.line("x", [(1, math.nan), (2, 1.0)]) is None
