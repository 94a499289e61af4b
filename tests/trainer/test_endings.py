"""What goes wrong is told by its end reason, its exit code, one sentence and a hint."""

import shutil
from pathlib import Path
from typing import Any

import pytest

from llmlab import contract, recipe
from llmlab.contract import EndReason, StopRequest, TrainerExit
from llmlab.trainer import failures
from llmlab.trainer.training import checkpoints
from tests.trainer import architectures, work as folders
from tests.trainer.conftest import Train

GOOD = {"text": "restart the server"}
CASES: dict[str, tuple[dict[str, Any], EndReason, str, str]] = {
    "wrong value": (
        {"recipe": {"learning_rate": -1}},
        EndReason.SETUP_FAILED,
        "learning_rate: must be greater than 0",
        "llmlab launch --set learning_rate",
    ),
    "unknown field": ({"recipe": {"lorra": 1}}, EndReason.SETUP_FAILED, "there is no field lorra", "llmlab estimate"),
    "fp16 without a GPU": ({"recipe": {"precision": "fp16"}}, EndReason.SETUP_FAILED, "precision fp16 needs a GPU", "--set precision=auto"),
    "unknown module": (
        {"recipe": {"lora": {"targets": ["nowhere"]}}},
        EndReason.SETUP_FAILED,
        "the recipe does not fit the model",
        "--set lora.targets=all-linear",
    ),
    "no rows": ({"rows": []}, EndReason.DATA_ERROR, "the dataset has no examples", "llmlab validate data/"),
    "a bad line": ({"rows": [GOOD, "{broken"]}, EndReason.DATA_ERROR, "train.jsonl:2: not JSON", "llmlab upload data/ --skip-bad"),
    "a row of no format": ({"rows": [GOOD, {"foo": 1}]}, EndReason.DATA_ERROR, "jsonl:2: no known form has the keys foo", "llmlab upload"),
    "preferences": ({"form": "preference"}, EndReason.DATA_ERROR, "train.jsonl:1: a preference", "llmlab launch --set objective=dpo"),
    "all too long": (
        {"rows": [{"text": "restart the server " * 20}], "recipe": {"max_length": 8}},
        EndReason.DATA_ERROR,
        "every example is longer than 8",
        "--set max_length=",
    ),
    "diverges": (
        {"recipe": {"learning_rate": 1.0, "max_grad_norm": 1e30, "epochs": 60, "weight_decay": 1.0, "lora": {"rank": 4, "alpha": 1e18}}},
        EndReason.TRAINING_ERROR,
        "; there is no good checkpoint from before",
        "--set learning_rate=0.25",
    ),
}


def test_no_case_is_missing() -> None:
    assert len(CASES) == 10


@pytest.mark.parametrize("case", CASES)
def test_failures_are_told(tmp_path: Path, model: Path, train: Train, case: str) -> None:
    given, reason, detail, hint = CASES[case]
    work = folders.make(tmp_path, model, **given)
    code, log = train(work)
    told = folders.outcome(work)
    assert (told.reason, code) == (reason, failures.CODES[reason]), log
    assert TrainerExit.reason(code) is reason
    assert detail in told.detail
    assert "\n" not in told.detail
    assert hint in folders.hint(told)
    assert f"error: {told.detail}" in log


@pytest.mark.parametrize(
    ("harm", "detail"),
    [
        ("missing", "the model lab:tiny has no config.json"),
        ("no weights", "it cannot be loaded"),
        ("damaged weights", "it cannot be loaded"),
        ("no tokenizer", "its tokenizer cannot be loaded"),
        ("missing weight", "lack 1 of its weights, such as model.norm.weight"),
    ],
)
def test_unusable_models_are_told(tmp_path: Path, model: Path, train: Train, harm: str, detail: str) -> None:
    work = folders.make(tmp_path, model)
    folder = Path(work.model)
    folder.unlink()
    if harm != "missing":
        shutil.copytree(model, folder)
    weights = folder / "model.safetensors"
    if harm == "no weights":
        weights.unlink()
    elif harm == "damaged weights":
        weights.write_bytes(weights.read_bytes()[:1000])
    elif harm == "no tokenizer":
        for file in folder.glob("tokenizer*"):
            file.unlink()
    elif harm == "missing weight":
        from safetensors.torch import load_file, save_file

        tensors = load_file(weights)
        del tensors["model.norm.weight"]
        save_file(tensors, weights, metadata={"format": "pt"})
    code, log = train(work)
    assert code == TrainerExit.SETUP_FAILED, log
    told = folders.outcome(work)
    assert told.reason is EndReason.SETUP_FAILED
    assert detail in told.detail
    assert folders.hint(told) == "llmlab upload MODEL_FOLDER --model tiny"


def test_no_spec(tmp_path: Path, model: Path, train: Train) -> None:
    work = folders.make(tmp_path, model)
    Path(work.spec).write_text("{")
    assert train(work)[0] == TrainerExit.SETUP_FAILED
    assert "spec.json cannot be used" in folders.outcome(work).detail


def test_a_missing_data_file(tmp_path: Path, model: Path, train: Train) -> None:
    work = folders.make(tmp_path, model)
    Path(work.data, "train.jsonl").unlink()
    assert train(work)[0] == TrainerExit.DATA_ERROR
    assert folders.outcome(work).detail == "train.jsonl of the dataset demo is missing on the machine"


def test_asked_to_leave_before_the_first_step(tmp_path: Path, model: Path, train: Train) -> None:
    work = folders.make(tmp_path, model)
    Path(work.request).write_text(contract.dump(StopRequest(EndReason.STOPPED_BY_USER, "2026-11-23T12:00:00Z")))
    code, _ = train(work)
    assert code == TrainerExit.STOPPED_ON_REQUEST
    assert folders.outcome(work).reason is EndReason.STOPPED_BY_USER
    assert checkpoints.find(Path(work.checkpoints)).newest is None


def test_out_of_memory_hints_at_what_would_fit() -> None:
    class OutOfMemoryError(RuntimeError):
        pass

    steps: list[dict[str, Any]] = [
        {"batch_size": 4},
        {"gradient_checkpointing": False},
        {"gradient_checkpointing": True},
        {"gradient_checkpointing": True, "method": "qlora"},
    ]
    hints = []
    for step in steps:
        failed = failures.of(
            OutOfMemoryError("CUDA out of memory.\nmore"), recipe.check({"model": "a/b", "batch_size": 1, "accumulate": 3, **step})
        )
        assert failed.reason is EndReason.OUT_OF_MEMORY
        hints.append(failed.hint.removeprefix("llmlab launch "))
    assert hints == [
        "--set batch_size=2 --set accumulate=6", "--set gradient_checkpointing=true", "--set method=qlora", "--set max_length=1024",
    ]  # fmt: skip
    full = failures.of(MemoryError(), recipe.check({"model": "a/b", "gradient_checkpointing": True, "method": "full"}))
    assert full.hint == "llmlab launch --set method=lora"
    assert failures.of(MemoryError(), None).reason is EndReason.OUT_OF_MEMORY
    assert failures.of(RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried"), None).reason is EndReason.OUT_OF_MEMORY
    assert failures.of(RuntimeError("odd"), None).reason is EndReason.TRAINING_ERROR


def test_dropout_on_a_mixture_of_experts_is_what_is_to_be_changed() -> None:
    """PEFT adapts experts as parameters, without dropout: https://huggingface.co/docs/peft/package_reference/lora."""
    from transformers import AutoConfig, AutoModelForCausalLM

    from llmlab.trainer.model.adapter import adapt

    config = AutoConfig.for_model("qwen3_moe", vocab_size=64, **architectures.SIZE, **architectures.EXPERTS)
    model = AutoModelForCausalLM.from_config(config)
    with pytest.raises(failures.SetupFailed, match="does not work with lora_dropout") as raised:
        adapt(model, recipe.check({"model": "lab:experts", "lora": {"dropout": 0.1}}), None, print)
    assert raised.value.hint == "llmlab launch --set lora.dropout=0"
