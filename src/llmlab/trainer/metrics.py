"""`metrics.jsonl`, one line a step, and the same numbers for TensorBoard.

Each checkpoint carries a copy, and resuming starts from that copy: no step is there twice, and none that was lost is there at all.
"""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from llmlab.contract import METRICS_FILE

TENSORBOARD = "tensorboard"


class Metrics:
    """The metrics of a run, over all its attempts. Of several processes, the first alone writes."""

    def __init__(self, output: Path, resumed_from: Path | None, *, writes: bool = True) -> None:
        self.path = output / METRICS_FILE
        self.writes = writes
        self.rows: list[dict[str, Any]] = []
        self._board_folder = output / TENSORBOARD
        self._board: Any = None
        if not writes:
            return
        output.mkdir(parents=True, exist_ok=True)
        saved = resumed_from / METRICS_FILE if resumed_from else None
        if saved and saved.is_file():
            shutil.copyfile(saved, self.path)
        else:
            self.path.unlink(missing_ok=True)
        self.rows = read(self.path)

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
        for key, value in flat(row):
            self._writer(row["step"]).add_scalar(key, value, row["step"])

    def close(self) -> None:
        if self._board is not None:
            self._board.close()

    def _writer(self, step: int) -> Any:
        """TensorBoard's writer, opened at the first step; it hides what an earlier attempt wrote from that step on."""
        if self._board is None:
            from torch.utils.tensorboard import SummaryWriter

            self._board = SummaryWriter(str(self._board_folder), purge_step=step)
        return self._board


def flat(row: dict[str, Any]) -> Iterator[tuple[str, float]]:
    """A row's numbers under TensorBoard's names: `train/loss`, `eval/loss`, `train/seconds/compute`."""
    for key, value in row.items():
        if key == "seconds_by_phase":
            yield from ((f"train/seconds/{phase}", seconds) for phase, seconds in value.items())
        elif key.startswith("eval_"):
            yield f"eval/{key.removeprefix('eval_')}", value
        elif key != "step":
            yield f"train/{key}", value


def read(path: Path) -> list[dict[str, Any]]:
    """The rows of a metrics file, [] when there is none."""
    if not path.is_file():
        return []
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line]
