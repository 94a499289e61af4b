"""What comes out means the same to those who never heard of llmlab: stock PEFT and transformers, in a process without it."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from llmlab.contract import ADAPTER, WHOLE_MODEL
from llmlab.trainer.training.trainable_state import TrainableState
from llmlab.trainer.training.training_loop import Loop
from tests.trainer import work as folders
from tests.trainer.conftest import Train

STOCK = """
import json, sys, warnings
warnings.simplefilter("ignore")
sys.modules["llmlab"] = None  # whoever imports it fails
import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM
ids = torch.tensor([json.loads(sys.argv[1])])
made = []
for base, adapter in json.loads(sys.argv[2]):
    model = AutoModelForCausalLM.from_pretrained(base)
    if adapter:
        model = PeftModel.from_pretrained(model, adapter)
    with torch.no_grad():
        made.append(model.eval()(input_ids=ids).logits[0].tolist())
print(json.dumps(made))
"""
IDS = [5, 80, 200, 41, 7, 300, 9, 120]
WAYS: dict[str, dict[str, Any]] = {
    "lora": {},
    "rsLoRA": {"lora": {"rank": 4, "alpha": 8, "dropout": 0.1, "rslora": True}},
    "DoRA": {"lora": {"rank": 4, "alpha": 8, "dora": True}},
    "dpo": {"objective": "dpo"},
    "full": {"method": "full"},
}


@pytest.mark.slow  # a process that imports torch, once for all of them
def test_stock_libraries_give_the_trainers_logits(tmp_path: Path, model: Path, train: Train, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    expected = []
    trained = Loop.trained

    def noting(self: Loop) -> TrainableState:
        made = trained(self)
        self.objective.eval()
        with torch.no_grad():
            expected.append(self.objective.model(input_ids=torch.tensor([IDS])).logits[0])
        return made

    monkeypatch.setattr(Loop, "trained", noting)
    given = []
    for way, changed in WAYS.items():
        form = "preference" if way == "dpo" else "messages"
        work = folders.make(tmp_path / way, model, form=form, recipe={"learning_rate": 0.02, **changed})
        code, log = train(work)
        assert code == 0, log
        full = way == "full"
        given.append((f"{work.output}/{WHOLE_MODEL}" if full else str(model), "" if full else f"{work.output}/{ADAPTER}"))
    # -I leaves out the current folder and PYTHONPATH, and -S what site would add: the libraries' own folder alone is on the path
    library = str(Path(torch.__file__).parent.parent)
    code = f"import sys; sys.path.append({library!r})\n{STOCK}"
    command = [sys.executable, "-I", "-S", "-c", code, json.dumps(IDS), json.dumps([*given, (str(model), "")])]
    told = subprocess.run(command, capture_output=True, text=True, check=False, timeout=200)
    assert told.returncode == 0, told.stderr[-2000:] + told.stdout[-500:]
    *made, base = [torch.tensor(one) for one in json.loads(told.stdout)]
    assert len(made) == len(expected) == len(WAYS) == 5
    for way, its, ours in zip(WAYS, made, expected, strict=True):
        assert torch.allclose(its, ours, atol=1e-5), way
        assert (its - base).abs().max() > 0.05, way
