"""`python -m benchmarks.objectives [grpo] [kto]`: what TRL's trainers teach the sandbox's model, as curves, in minutes on a CPU.

The trainer runs as on a machine, in a process of its own on a work folder; the numbers are its metrics'. With `grpo` a completion is
worth 1 up to 22 characters and nothing from 44 on, and the base model answers with 46; with `kto` good answers follow the runbook and
bad ones put off. Held-out prompts and answers are never trained on. Prints Markdown.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from itertools import islice, pairwise
from pathlib import Path
from statistics import fmean
from typing import Any, NamedTuple

from llmlab.contract import METRICS_FILE, Env
from llmlab.sandbox import model
from llmlab.sandbox.examples import FORMATS
from llmlab.sandbox.runbook import questions
from tests.trainer import work as folders

SEED = 5
"""Of the questions, others than those that the base model was made of."""


class Course(NamedTuple):
    """A training: its data, its recipe, and what of its metrics is shown: a column's name, and the metric that it shows."""

    form: str
    examples: int
    recipe: Mapping[str, Any]
    trained: Mapping[str, str]
    held_out: Mapping[str, str]


COURSES = {
    "grpo": Course(
        "prompt-completion",
        60,
        {
            "objective": "grpo", "batch_size": 32, "max_length": 96, "max_steps": 60, "schedule": "constant", "learning_rate": 0.003,
            "lora": {"rank": 8, "alpha": 16, "dropout": 0.0}, "evaluation": {"share": 0.3, "steps": 5},
            "grpo": {"num_generations": 8, "max_completion_length": 32, "temperature": 1.3, "rewards": [{"length": {"longest": 22}}]},
        },
        {"reward": "reward", "groups all alike": "groups_alike", "tokens of a completion": "completion_tokens"},
        {"held-out reward": "eval_reward"},
    ),
    "kto": Course(
        "kto",
        96,
        {
            "objective": "kto", "batch_size": 8, "epochs": 4, "learning_rate": 0.003, "lora": {"rank": 8, "alpha": 16, "dropout": 0.0},
            "evaluation": {"share": 0.25, "steps": 6},
        },
        {"loss": "loss", "reward of good answers": "reward_good", "of bad ones": "reward_bad", "margin": "margin"},
        {"held-out margin": "eval_margin", "held-out loss": "eval_loss"},
    ),
}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.objectives", description=__doc__)
    parser.add_argument("courses", nargs="*", metavar="OBJECTIVE", choices=[*COURSES, []], help=f"of {', '.join(COURSES)}")
    wanted = parser.parse_args().courses or list(COURSES)
    with tempfile.TemporaryDirectory() as scratch:
        base = Path(scratch, "tiny")
        model.make(base)
        for name in wanted:
            sys.stdout.write(f"{name}:\n\n{table(COURSES[name], metrics(name, Path(scratch, name), base))}\n")
            sys.stdout.flush()


def metrics(name: str, root: Path, base: Path) -> list[dict[str, Any]]:
    """Train one, and read its rows: those of steps, and within them or beside those of evaluations."""
    course = COURSES[name]
    rows = [FORMATS[course.form](question) for question in islice(questions(SEED), course.examples)]
    work = folders.make(root, base, rows, recipe=course.recipe)
    done = subprocess.run(
        [sys.executable, "-m", "llmlab.trainer"], env=os.environ | {Env.WORK: work.root}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return [json.loads(line) for line in Path(work.output, METRICS_FILE).read_text(encoding="utf-8").splitlines()]


def table(course: Course, rows: Sequence[Mapping[str, Any]]) -> str:
    """A line for each evaluation, with the means of the steps since the one before."""
    head = ("step", *course.trained, *course.held_out)
    at = [number for number, row in enumerate(rows) if "eval_loss" in row]
    lines = [_line(course, rows[at[0] : at[0] + 1])] + [_line(course, rows[start + 1 : end + 1]) for start, end in pairwise(at)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (head, ["---:"] * len(head), *lines)) + "\n"


def _line(course: Course, rows: Sequence[Mapping[str, Any]]) -> list[str]:
    means = [[row[name] for row in rows if name in row] for name in course.trained.values()]
    last = rows[-1]
    return [
        str(last["step"]), *(f"{fmean(numbers):.3f}" if numbers else "" for numbers in means),
        *(f"{last[name]:.3f}" if name in last else "" for name in course.held_out.values()),
    ]  # fmt: skip


if __name__ == "__main__":
    main()
