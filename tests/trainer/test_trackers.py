"""Trackers hear each row once, offline, and one that is not installed is refused in words. The real MLflow and W&B are not needed."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from llmlab import recipe as recipes
from llmlab.trainer.failures import SetupFailed
from llmlab.trainer.training.trackers import TensorBoard, flat, trackers

RUN = "20261123-120000-abcd"
ROWS = [{"step": step, "loss": 3.0 / step, "eval_loss": 2.0, "seconds_by_phase": {"compute": 0.5}} for step in (1, 2, 3)]


class FakeMLflow:
    """The part of MLflow's client that is used, over one dictionary that outlives a training."""

    def __init__(self) -> None:
        self.runs: dict[str, dict[str, Any]] = {}
        self.experiments: list[str] = []
        self.uris: list[str] = []

    def MlflowClient(self, tracking_uri: str) -> "FakeMLflow":  # noqa: N802 - MLflow's name
        self.uris.append(tracking_uri)
        return self

    def get_experiment_by_name(self, name: str) -> Any:
        return SimpleNamespace(experiment_id="1") if name in self.experiments else None

    def create_experiment(self, name: str) -> str:
        self.experiments.append(name)
        return "1"

    def search_runs(self, _experiments: list[str]) -> list[Any]:
        return [SimpleNamespace(info=SimpleNamespace(run_name=name, run_id=name)) for name in self.runs]

    def create_run(self, _experiment: str, run_name: str) -> Any:
        self.runs[run_name] = {"params": {}, "metrics": [], "over": False}
        return SimpleNamespace(info=SimpleNamespace(run_id=run_name))

    def log_param(self, run: str, name: str, value: str) -> None:
        self.runs[run]["params"][name] = value

    def log_metric(self, run: str, name: str, value: float, step: int) -> None:
        self.runs[run]["metrics"].append((step, name, value))

    def set_terminated(self, run: str) -> None:
        self.runs[run]["over"] = True


class FakeWandb:
    """W&B's `init` and the run it gives."""

    def __init__(self) -> None:
        self.options: list[dict[str, Any]] = []
        self.logged: list[tuple[int, dict[str, float]]] = []
        self.finished = 0

    def init(self, **options: Any) -> "FakeWandb":
        self.options.append(options)
        Path(options["dir"], "wandb", f"offline-run-1-{options['id']}").mkdir(parents=True, exist_ok=True)
        return self

    def log(self, row: dict[str, float], step: int) -> None:
        self.logged.append((step, row))

    def finish(self) -> None:
        self.finished += 1


def recipe(*track: str) -> recipes.Recipe:
    return recipes.check({"model": "a/b", "track": list(track)})


def test_each_tracker_hears_each_row_once_over_two_attempts(tmp_path: Path) -> None:
    fakes: dict[str, Any] = {"mlflow": FakeMLflow(), "wandb": FakeWandb()}
    for rows, new in (([], ROWS[:2]), (ROWS[:2], ROWS[2:])):
        made = trackers(recipe("mlflow", "wandb"), tmp_path, RUN, rows, fakes.__getitem__)
        assert len(made) == 3
        for row in new:
            for one in made:
                one.add(row)
        for one in made:
            one.close()
    mlflow, wandb = fakes["mlflow"], fakes["wandb"]
    assert mlflow.uris[0] == (tmp_path / "mlruns").as_uri()
    told = mlflow.runs[RUN]
    assert [(step, value) for step, name, value in told["metrics"] if name == "train/loss"] == [(1, 3.0), (2, 1.5), (3, 1.0)]
    assert told["params"]["lora.rank"] == "16"
    assert told["over"]
    assert [step for step, _ in wandb.logged] == [1, 2, 3]
    assert wandb.logged[0][1] == {"train/loss": 3.0, "eval/loss": 2.0, "train/seconds/compute": 0.5}
    assert {(one["mode"], one["id"]) for one in wandb.options} == {("offline", RUN)}
    assert wandb.finished == 2
    assert len(list((tmp_path / "tensorboard").glob("events*"))) == 2


def test_on_another_machine_what_went_before_is_told_first(tmp_path: Path) -> None:
    wandb = FakeWandb()
    made = trackers(recipe("wandb"), tmp_path, RUN, ROWS[:2], {"wandb": wandb}.__getitem__)
    assert [step for step, _ in wandb.logged] == [1, 2]
    for one in made:
        one.close()


def test_one_that_is_not_installed_is_refused(tmp_path: Path) -> None:
    def nothing(name: str) -> Any:
        raise ImportError(name)

    with pytest.raises(SetupFailed, match="the recipe tracks with wandb, and wandb is not in the training image") as caught:
        trackers(recipe("wandb"), tmp_path, RUN, load=nothing)
    assert caught.value.hint == "llmlab launch --set track=[]"
    assert [type(one) for one in trackers(recipe(), tmp_path, RUN, load=nothing)] == [TensorBoard]


def test_names_of_a_row() -> None:
    assert dict(flat({"step": 3, "loss": 1.0, "eval_perplexity": 2.0})) == {"train/loss": 1.0, "eval/perplexity": 2.0}
