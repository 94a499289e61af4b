"""A report of one run as one HTML page that opens offline: its recipe, its course, its cost, and samples of the model's answers.

Everything is read from what the run itself left in the outputs bucket; only GPU use comes from CloudWatch.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import jinja2

from llmlab import __version__, contract
from llmlab.aws import documents, metrics
from llmlab.aws.session import Aws, AwsError
from llmlab.clock import Clock
from llmlab.contract import LEARNED, METRICS_FILE, SAMPLES_FILE, Marker, Metric, RunKeys, Spec
from llmlab.errors import LabError
from llmlab.lifecycle import billing
from llmlab.ops import svg_chart
from llmlab.ops.cost import RunCost, run_cost
from llmlab.ops.run_status import objective_of
from llmlab.ops.svg_chart import Chart

MOST_DRAWN = 1e150
"""Largest number that is drawn: the span of two such numbers is still finite."""


@dataclass(frozen=True)
class RunReport:
    """The facts that the page shows. `objective` is the recipe's; the numbers of the first and the last row that has them, else None."""

    run: str
    state: str
    reason: str
    objective: str
    spec: Spec
    marker: Marker | None
    cost: RunCost | None
    first_loss: float | None
    last_loss: float | None
    first_reward: float | None
    last_reward: float | None
    first_margin: float | None
    last_margin: float | None
    steps: int
    charts: tuple[Chart, ...]
    samples: tuple[dict[str, str], ...]


def report(aws: Aws, clock: Clock, run: str) -> RunReport:
    """Gather the facts about a run; a run that is not over gives the page of the moment.

    Raises:
        LabError: there is no such run.
    """
    keys, bucket = RunKeys(run), aws.names.outputs_bucket
    spec = documents.read(aws, Spec, bucket, keys.spec)
    if spec is None:
        raise LabError(f"there is no run {run}", "llmlab status")
    marker = documents.read(aws, Marker, bucket, keys.success) or documents.read(aws, Marker, bucket, keys.failure)
    rows = list(objects(documents.read_text(aws, bucket, keys.output + METRICS_FILE)))
    losses, rewards, margins = (ends(rows, name) for name in LEARNED)
    return RunReport(
        run=run,
        state=str(marker.reason.state) if marker else "not over",
        reason=str(marker.reason) if marker else "",
        objective=objective_of(spec),
        spec=spec,
        marker=marker,
        cost=run_cost(aws, run, contract.run_started(run), clock.now()),
        first_loss=losses[0],
        last_loss=losses[1],
        first_reward=rewards[0],
        last_reward=rewards[1],
        first_margin=margins[0],
        last_margin=margins[1],
        steps=max((row["step"] for row in rows if isinstance(row.get("step"), int) and _is_drawable(row["step"])), default=0),
        charts=tuple(line_chart for line_chart in (*training_charts(rows), gpu_chart(aws, clock, run, marker)) if line_chart),
        samples=tuple(
            {name: str(row.get(name, "")) for name in ("prompt", "base", "tuned")}
            for row in objects(documents.read_text(aws, bucket, keys.output + SAMPLES_FILE))
        ),
    )


def ends(rows: Iterable[Mapping[str, Any]], name: str) -> tuple[float | None, float | None]:
    """The first and the last number of a column."""
    numbers: list[float] = [row[name] for row in rows if _is_drawable(row.get(name))]
    return (numbers[0], numbers[-1]) if numbers else (None, None)


def training_charts(rows: Iterable[Mapping[str, Any]]) -> list[Chart | None]:
    """Loss, rewards, margins, learning rate and speed by step.

    After an interruption a step may occur twice: the newer row holds.
    """
    by_step: dict[int, dict[str, Any]] = {}
    for row in rows:
        if isinstance(row.get("step"), int) and _is_drawable(row["step"]):
            by_step[row["step"]] = {**by_step.get(row["step"], {}), **row}

    def column(name: str) -> list[tuple[float, float]]:
        return [(step, float(row[name])) for step, row in sorted(by_step.items()) if _is_drawable(row.get(name))]

    return [
        svg_chart.line("Loss", column("loss")),
        svg_chart.line("Loss on held-out examples", column("eval_loss")) if not column("eval_reward") else None,
        svg_chart.line("Reward", column("reward")),
        svg_chart.line("Reward on held-out prompts", column("eval_reward")),
        svg_chart.line("Margin of good over bad answers", column("margin")),
        svg_chart.line("Margin on held-out examples", column("eval_margin")),
        svg_chart.line("Learning rate", column("learning_rate")),
        svg_chart.line("Speed", column("tokens_per_second"), unit="tokens/s"),
    ]


def _is_drawable(value: object) -> bool:
    """Whether a value is a number that can be drawn: the rows are what a training wrote, and may be anything."""
    return isinstance(value, int | float) and abs(value) < MOST_DRAWN


def gpu_chart(aws: Aws, clock: Clock, run: str, marker: Marker | None) -> Chart | None:
    """GPU use by minute, when the machine had one and CloudWatch still has it."""
    start = contract.run_started(run)
    end = contract.parse_timestamp(marker.ended) + timedelta(minutes=1) if marker else clock.now()
    try:
        points = metrics.series(aws, run, Metric.GPU_PERCENT, start, end, clock.now())
    except AwsError:  # the page is worth reading without it
        return None
    return svg_chart.line("GPU", [((at - start).total_seconds() / 60, value) for at, value in points], unit="% busy", across="minute")


def objects(lines: str) -> Iterable[dict[str, Any]]:
    """The JSON objects of a JSONL text; a last line cut short by an interruption is left out."""
    for line in lines.splitlines():
        try:
            value = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(value, dict):
            yield value


def html(facts: RunReport) -> str:
    """The report as an HTML page."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent.parent / "templates"), undefined=jinja2.StrictUndefined, autoescape=True
    )
    environment.filters |= {"number": svg_chart.number, "dollars": billing.dollars, "plain": plain}
    return environment.get_template("report.html.j2").render(report=facts, version=__version__)


def write(facts: RunReport, path: Path) -> Path:
    """Write the HTML page to a file; its folder is made when missing."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(html(facts), encoding="utf-8")
    except OSError as error:
        raise LabError(f"{path} cannot be written: {error.strerror}", f"llmlab report {facts.run} --output FILE") from error
    return path


def plain(value: object) -> str:
    """A value of a recipe as a reader would write it: `yes`, `a 1, b 2`, `none`."""
    if isinstance(value, Mapping):
        if value.keys() >= {"file", "sha256", "text"}:
            return str(value["file"])  # of a file its name, not its text
        return ", ".join(f"{name} {plain(element)}" for name, element in value.items() if element is not None and element != [])
    if isinstance(value, list | tuple):
        return ", ".join(map(plain, value)) or "none"
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else "none" if value is None else str(value)
