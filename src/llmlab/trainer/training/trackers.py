"""Experiment trackers that get each step's metrics: TensorBoard always, MLflow and Weights & Biases where the recipe's `track` names them.

All write into the output, offline: the trainer has no network and no credentials. From the folder that comes home, `tensorboard
--logdir outputs/RUN/tensorboard`, `mlflow ui --backend-store-uri outputs/RUN/mlruns` and `wandb sync` show or send it. Their packages are
imported only when asked for.
"""

import importlib
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from llmlab.recipe import Recipe
from llmlab.trainer.failures import SetupFailed

TENSORBOARD = "tensorboard"
MLFLOW = "mlruns"
WANDB = "wandb"
PACKAGES = {"mlflow": "mlflow-skinny", "wandb": "wandb"}
"""What to install for each of the recipe's trackers."""


class Tracker(Protocol):
    """Gets each row of the metrics. `fresh` is whether it has none of this run yet, on this machine."""

    fresh: bool

    def add(self, row: Mapping[str, Any]) -> None: ...

    def close(self) -> None: ...


def trackers(
    recipe: Recipe, output: Path, run: str, rows: Sequence[Mapping[str, Any]] = (), load: Any = importlib.import_module
) -> list[Tracker]:
    """The recipe's trackers; fresh ones get the `rows` of the steps before. `load` imports a module by name.

    Raises:
        SetupFailed: the recipe names one whose package is not in the image.
    """
    active: list[Tracker] = [TensorBoard(output / TENSORBOARD)]
    for name in recipe.track:
        try:
            module = load(name)
        except ImportError as error:
            others = [other for other in recipe.track if other != name]
            raise SetupFailed(
                f"the recipe tracks with {name}, and {PACKAGES[name]} is not in the training image",
                f"llmlab launch --set track=[{','.join(others)}]",
            ) from error
        active.append(MLflow(module, recipe, output / MLFLOW, run) if name == "mlflow" else Wandb(module, recipe, output, run))
    for tracker in active:
        for row in rows if tracker.fresh else ():
            tracker.add(row)
    return active


class TensorBoard:
    """TensorBoard's writer, opened at the first step; it hides what an earlier attempt wrote from that step on."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.fresh = not any(folder.glob("events*"))
        self.writer: Any = None

    def add(self, row: Mapping[str, Any]) -> None:
        if self.writer is None:
            from torch.utils.tensorboard import SummaryWriter

            self.writer = SummaryWriter(str(self.folder), purge_step=row["step"])
        for name, value in flat(row):
            self.writer.add_scalar(name, value, row["step"])

    def close(self) -> None:
        if self.writer is not None:
            self.writer.close()


class MLflow:
    """An MLflow run in a folder of files. A training that goes on continues the run of its name."""

    def __init__(self, module: Any, recipe: Recipe, folder: Path, run: str) -> None:
        os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")  # newer versions ask whether files are really wanted
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        self.client = module.MlflowClient(tracking_uri=folder.resolve().as_uri())
        existing = self.client.get_experiment_by_name("llmlab")
        experiment = existing.experiment_id if existing else self.client.create_experiment("llmlab")
        runs = [candidate for candidate in self.client.search_runs([experiment]) if candidate.info.run_name == run]
        self.fresh = not runs
        self.run = (runs[0] if runs else self.client.create_run(experiment, run_name=run)).info.run_id
        if self.fresh:
            for name, value in settings(recipe):
                self.client.log_param(self.run, name, str(value)[:500])

    def add(self, row: Mapping[str, Any]) -> None:
        for name, value in flat(row):
            self.client.log_metric(self.run, name, value, step=row["step"])

    def close(self) -> None:
        self.client.set_terminated(self.run)


class Wandb:
    """A Weights & Biases run, offline, under the run's own id so that several attempts are one run when they are sent."""

    def __init__(self, module: Any, recipe: Recipe, output: Path, run: str) -> None:
        os.environ.setdefault("WANDB_SILENT", "true")
        output.mkdir(parents=True, exist_ok=True)
        self.fresh = not any((output / WANDB).glob(f"*-{run}"))
        config = dict(settings(recipe))
        self.run = module.init(project="llmlab", name=run, id=run, dir=str(output), mode="offline", config=config)

    def add(self, row: Mapping[str, Any]) -> None:
        self.run.log(dict(flat(row)), step=row["step"])

    def close(self) -> None:
        self.run.finish()


def flat(row: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    """A row's numbers by name: `train/loss`, `eval/loss`, `train/seconds/compute`."""
    for key, value in row.items():
        if key == "seconds_by_phase":
            yield from ((f"train/seconds/{phase}", seconds) for phase, seconds in value.items())
        elif key.startswith("eval_"):
            yield f"eval/{key.removeprefix('eval_')}", value
        elif key != "step":
            yield f"train/{key}", value


def settings(recipe: Recipe) -> Iterator[tuple[str, Any]]:
    """The recipe's fields by dotted name."""
    for name, value in recipe.shown().items():
        if isinstance(value, dict):
            yield from ((f"{name}.{inner}", setting) for inner, setting in value.items())
        else:
            yield name, value
