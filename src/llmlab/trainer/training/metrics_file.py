"""`metrics.jsonl`, one line a step, and the same numbers for each tracker.

Each checkpoint carries a copy, and resuming starts from that copy: no step is there twice, and none that was lost is there at all.
"""

import json
import shutil
from pathlib import Path
from typing import Any

from llmlab.contract import METRICS_FILE
from llmlab.recipe import Recipe
from llmlab.trainer.training.trackers import Tracker, trackers


class Metrics:
    """The metrics of a run, over all its attempts. Of several processes, the main one alone writes."""

    def __init__(self, output: Path, recipe: Recipe, run: str, resumed_from: Path | None, *, writes: bool = True) -> None:
        self.path = output / METRICS_FILE
        self.writes = writes
        self.rows: list[dict[str, Any]] = []
        self.trackers: list[Tracker] = []
        if not writes:
            return
        output.mkdir(parents=True, exist_ok=True)
        saved = resumed_from / METRICS_FILE if resumed_from else None
        if saved and saved.is_file():
            shutil.copyfile(saved, self.path)
        else:
            self.path.unlink(missing_ok=True)
        self.rows = read(self.path)
        self.trackers = trackers(recipe, output, run, self.rows)

    @property
    def last(self) -> dict[str, Any]:
        return self.rows[-1] if self.rows else {}

    def add(self, row: dict[str, Any]) -> None:
        """Append a step. Keys with None are left out."""
        if not self.writes:
            return
        row = {key: value for key, value in row.items() if value is not None}
        self.rows.append(row)
        with self.path.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(row) + "\n")
        for tracker in self.trackers:
            tracker.add(row)

    def close(self) -> None:
        for tracker in self.trackers:
            tracker.close()


def read(path: Path) -> list[dict[str, Any]]:
    """The rows of a metrics file, [] when there is none."""
    if not path.is_file():
        return []
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line]
