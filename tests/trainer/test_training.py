"""Trainings through the real entry point: every format, the invariants, what comes out."""

import json
from pathlib import Path

import pytest

from llmlab.contract import ADAPTER, EndReason, WorkFolder
from llmlab.sandbox.examples import FORMATS
from tests.trainer import work as folders
from tests.trainer.conftest import Train

SFT = [form for form in FORMATS if form not in {"preference", "kto"}]


def test_no_case_is_missing() -> None:
    assert len(SFT) == 6


@pytest.mark.parametrize("form", SFT)
def test_every_sft_format_trains(tmp_path: Path, model: Path, train: Train, form: str) -> None:
    work = folders.make(tmp_path, model, form=form, count=8, recipe={"epochs": 3, "learning_rate": 0.02})
    code, log = train(work)
    assert code == 0, log
    assert folders.outcome(work).reason is EndReason.COMPLETED
    progress = folders.progress(work)
    assert (progress.phase, progress.step, progress.total_steps) == ("finished", 6, 6)
    assert progress.tokens > 8 * 20
    losses = [loss for _, loss, _ in folders.losses(work)]
    assert len(losses) == 6
    assert losses[-1] < losses[0] - 0.2
    assert "8 examples in 8 sequences" in log


@pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing:FutureWarning")  # PEFT, of transformers
def test_what_comes_out_loads_in_peft_and_answers_differently(model: Path, trained: WorkFolder) -> None:
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    adapter = Path(trained.output, ADAPTER)
    config = json.loads((adapter / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == "lab:tiny"
    tokenizer = AutoTokenizer.from_pretrained(adapter)
    assert tokenizer.chat_template
    base = AutoModelForCausalLM.from_pretrained(model).eval()
    asked = tokenizer("How do I restart the old server?", return_tensors="pt")
    with torch.no_grad():
        before = base(**asked).logits
        tuned = PeftModel.from_pretrained(base, adapter).eval()
        after = tuned(**asked).logits
        with tuned.disable_adapter():
            again = tuned(**asked).logits
    assert torch.equal(before, again)
    assert (after - before).abs().max() > 0.1
    card = Path(trained.output, "README.md").read_text()
    assert "lab:tiny" in card
    assert "train.jsonl" in card
    assert "rank: 4" in card
    assert list(Path(trained.output, "tensorboard").glob("events*"))


def test_one_by_eight_is_eight_by_one(tmp_path: Path, model: Path, train: Train) -> None:
    """Examples differ in length, so this holds only if each token weighs the same."""
    seen = {}
    for batch, accumulate in ((1, 8), (8, 1), (2, 4)):
        recipe = {"batch_size": batch, "accumulate": accumulate, "epochs": 2, "lora": {"rank": 4, "dropout": 0.0}}
        work = folders.make(tmp_path / f"{batch}", model, count=20, recipe=recipe)
        code, log = train(work)
        assert code == 0, log
        seen[batch, accumulate] = folders.losses(work)
    first = seen[1, 8]
    assert len(first) == 6
    for other in seen.values():
        for one, two in zip(first, other, strict=True):
            assert one == pytest.approx(two, rel=2e-5)


def test_answers_of_one_and_of_thirty_words_weigh_by_their_tokens_however_they_are_batched(
    tmp_path: Path, model: Path, train: Train
) -> None:
    """A step's loss is one mean over all its tokens, not a mean of batches: https://huggingface.co/blog/gradient_accumulation."""
    words = [1, 30, 2, 1, 30, 2, 30, 1]
    chats = [[("user", f"q{at}"), ("assistant", "word " * count)] for at, count in enumerate(words)]
    rows = [{"messages": [{"role": role, "content": content} for role, content in chat]} for chat in chats]
    seen = []
    for packing in (True, False):
        for batch, accumulate in ((8, 1), (1, 8), (2, 4)):
            recipe = {"batch_size": batch, "accumulate": accumulate, "packing": packing, "epochs": 2, "lora": {"rank": 4, "dropout": 0.0}}
            work = folders.make(tmp_path / f"{packing}{batch}", model, rows, recipe=recipe)
            code, log = train(work)
            assert code == 0, log
            seen.append([loss for _, loss, _ in folders.losses(work)])
    assert len(seen) == 6
    assert len(seen[0]) == 2
    for other in seen[1:]:
        assert other == pytest.approx(seen[0], abs=1e-5)


def test_the_same_seed_gives_the_same_weights_and_another_does_not(tmp_path: Path, model: Path, train: Train) -> None:
    made = []
    for name, seed in (("a", 3), ("b", 3), ("c", 4)):
        work = folders.make(tmp_path / name, model, count=8, recipe={"seed": seed})
        assert train(work)[0] == 0
        made.append(folders.weights(work))
    assert made[0] == made[1] != made[2]


def test_long_examples_are_left_out_and_counted(tmp_path: Path, model: Path, train: Train) -> None:
    rows = [{"text": "restart the server"}] * 6 + [{"text": "restart the server " * 100}] * 2
    work = folders.make(tmp_path, model, rows, recipe={"max_length": 64})
    code, log = train(work)
    assert code == 0, log
    assert "6 sequences" in log
    assert "2 longer than 64 tokens left out (the longest has" in log


def test_bad_lines_are_dropped_and_counted_when_the_upload_allowed_it(tmp_path: Path, model: Path, train: Train) -> None:
    rows = [{"text": "restart the server"}, '{"text": 7}', "{broken", {"text": "grow the volume"}]
    work = folders.make(tmp_path, model, rows, facts={"skip_bad": True})
    code, log = train(work)
    assert code == 0, log
    assert "2 examples in 2 sequences" in log
    assert "2 bad lines left out" in log


def test_answers_of_base_and_tuned_model(tmp_path: Path, model: Path, trained: WorkFolder, capsys: pytest.CaptureFixture[str]) -> None:
    from llmlab.trainer.export.answer import main

    assert main([str(model), f"{trained.output}/{ADAPTER}", "How do I restart the old server?", "--most-tokens", "12"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["base"] != said["tuned"]
    assert main([str(model), str(tmp_path), "x"]) == 1
    assert "there is no adapter" in capsys.readouterr().err
