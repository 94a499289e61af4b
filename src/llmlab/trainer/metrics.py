"""`metrics.jsonl`, one line a step, and the same numbers for TensorBoard.

Each checkpoint carries a copy, and resuming starts from that copy: no step is there twice, and none that was lost is there at all.
"""

import json
import shutil
from pathlib import Path
from typing import Any

from llmlab.contract import METRICS_FILE

TENSORBOARD = "tensorboard"


class Metrics:
    """The metrics of a run, over all its attempts."""

    def __init__(self, output: Path, resumed_from: Path | None) -> None:
        output.mkdir(parents=True, exist_ok=True)
        self.path = output / METRICS_FILE
        saved = resumed_from / METRICS_FILE if resumed_from else None
        if saved and saved.is_file():
            shutil.copyfile(saved, self.path)
        else:
            self.path.unlink(missing_ok=True)
        self.rows = read(self.path)
        self._board_folder = output / TENSORBOARD
        self._board: Any = None

    @property
    def last(self) -> dict[str, Any]:
        return self.rows[-1] if self.rows else {}

    def add(self, row: dict[str, Any]) -> None:
        """Append a step. Keys with None are left out."""
        row = {key: value for key, value in row.items() if value is not None}
        self.rows.append(row)
        with self.path.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(row) + "\n")
        for key, value in row.items():
            if key != "step":
                self._writer(row["step"]).add_scalar(f"train/{key}", value, row["step"])

    def copy_into(self, checkpoint: Path) -> None:
        if self.path.is_file():
            shutil.copyfile(self.path, checkpoint / METRICS_FILE)

    def close(self) -> None:
        if self._board is not None:
            self._board.close()

    def _writer(self, step: int) -> Any:
        """TensorBoard's writer, opened at the first step; it hides what an earlier attempt wrote from that step on."""
        if self._board is None:
            from torch.utils.tensorboard import SummaryWriter

            self._board = SummaryWriter(str(self._board_folder), purge_step=step)
        return self._board


def read(path: Path) -> list[dict[str, Any]]:
    """The rows of a metrics file, [] when there is none."""
    if not path.is_file():
        return []
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line]
