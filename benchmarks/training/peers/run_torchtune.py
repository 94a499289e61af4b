"""torchtune: its recipe `lora_finetune_single_device` with the shipped configuration of an 8B LoRA, but for the model and `settings`.

The rows are given as token ids, and the first token of each is no target, so that packed rows do not learn to guess the next chat.
"""

import importlib.util
import json
import time
from pathlib import Path
from typing import Any

from job import IGNORED, LEARNING_RATE, LORA, Count, Job
from torch.utils.data import Dataset


class NoTokenizer:
    """The recipe asks its tokenizer for the padding alone: rows are tokens already."""

    def __init__(self, pad_id: int) -> None:
        self.pad_id = pad_id


class Rows(Dataset[dict[str, list[int]]]):
    def __init__(self, file: str) -> None:
        self.documents: list[list[int]] = json.loads(Path(file).read_text(encoding="utf-8"))

    def __len__(self) -> int:
        return len(self.documents)

    def __getitem__(self, index: int) -> dict[str, list[int]]:
        tokens = self.documents[index]
        return {"tokens": list(tokens), "labels": [IGNORED, *tokens[1:]]}


def rows(_tokenizer: NoTokenizer, file: str, packed_to: int = 0, **_: Any) -> Any:
    """The dataset of the configuration; `packed_to` is the size of a pack in tokens, 0 for none."""
    from torchtune.datasets import PackedDataset

    documents = Rows(file)
    return PackedDataset(documents, max_seq_len=packed_to) if packed_to else documents


def configuration(job: Job) -> dict[str, Any]:
    shape = json.loads(Path(job.model, "config.json").read_text(encoding="utf-8"))
    packed_to = job.settings.get("packed_to", 0)
    return {
        "output_dir": str(job.scratch / "out"),
        "model": {
            "_component_": "torchtune.models.llama3.lora_llama3",
            "lora_attn_modules": LORA["targets"],
            "apply_lora_to_mlp": False,
            "vocab_size": shape["vocab_size"],
            "num_layers": shape["num_hidden_layers"],
            "num_heads": shape["num_attention_heads"],
            "num_kv_heads": shape["num_key_value_heads"],
            "embed_dim": shape["hidden_size"],
            "max_seq_len": shape["max_position_embeddings"],
            "intermediate_dim": shape["intermediate_size"],
            "rope_base": 10_000,
            "lora_rank": LORA["rank"],
            "lora_alpha": LORA["alpha"],
            "lora_dropout": LORA["dropout"],
        },
        "tokenizer": {"_component_": "run_torchtune.NoTokenizer", "pad_id": shape["pad_token_id"]},
        "checkpointer": {
            "_component_": "torchtune.training.FullModelHFCheckpointer",
            "checkpoint_dir": job.model,
            "checkpoint_files": ["model.safetensors"],
            "recipe_checkpoint": None,
            "output_dir": str(job.scratch / "out"),
            "model_type": "LLAMA3",
        },
        "resume_from_checkpoint": False,
        "save_adapter_weights_only": True,
        "dataset": {
            "_component_": "run_torchtune.rows",
            "file": str(job.assets / "tokens.json"),
            "packed_to": packed_to,
            "packed": packed_to > 0,
        },
        "seed": 0,
        "shuffle": True,
        "batch_size": job.settings.get("batch_size", 2),
        "optimizer": {"_component_": "torch.optim.AdamW", "fused": True, "weight_decay": 0.01, "lr": LEARNING_RATE},
        "lr_scheduler": {"_component_": "torchtune.training.lr_schedulers.get_cosine_schedule_with_warmup", "num_warmup_steps": 2},
        "loss": {"_component_": f"torchtune.modules.loss.{job.settings.get('loss', 'CEWithChunkedOutputLoss')}"},
        "epochs": job.epochs,
        "max_steps_per_epoch": None,
        "gradient_accumulation_steps": job.settings.get("accumulate", 8),
        "clip_grad_norm": None,
        "compile": False,
        "metric_logger": {"_component_": "torchtune.training.metric_logging.DiskLogger", "log_dir": str(job.scratch / "logs")},
        "log_every_n_steps": 1,
        "log_peak_memory_stats": False,
        "device": "cpu",
        "dtype": "bf16",
        "enable_activation_checkpointing": job.settings.get("checkpointing", True),
        "enable_activation_offloading": False,
    }


def recipe_class() -> Any:
    """The recipe, which `tune run` starts as a script: its folder refuses to be imported as a package."""
    folder = importlib.util.find_spec("torchtune")
    assert folder is not None
    assert folder.origin is not None
    file = Path(folder.origin).parent.parent / "recipes" / "lora_finetune_single_device.py"
    found = importlib.util.spec_from_file_location("lora_finetune_single_device", file)
    assert found is not None
    assert found.loader is not None
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return module.LoRAFinetuneRecipeSingleDevice


def main() -> None:
    from omegaconf import OmegaConf

    job = Job()
    count = Count()

    class Watched(recipe_class()):  # type: ignore[misc]
        def train(self) -> None:
            count.seconds = -time.perf_counter()
            super().train()
            count.seconds += time.perf_counter()

        def save_checkpoint(self, epoch: int) -> None:
            """After each epoch. Not timed: the other contestants' saves are not in their seconds either."""
            count.seconds += time.perf_counter()
            super().save_checkpoint(epoch)
            count.seconds -= time.perf_counter()

        def _loss_step(self, batch: dict[str, Any]) -> Any:
            targets = int((batch["labels"][:, 1:] != IGNORED).sum())
            count.targets += targets
            count.tokens += targets + int((batch["labels"] != IGNORED).sum(1).ne(0).sum() if not packed else batch["input_pos"].eq(0).sum())
            return super()._loss_step(batch)

    packed = job.settings.get("packed_to", 0) > 0
    setup = OmegaConf.create(configuration(job))
    recipe = Watched(setup)
    recipe.setup(setup)
    recipe.train()
    count.steps = recipe.global_step
    recipe.cleanup()
    job.answer(count, [])


if __name__ == "__main__":
    main()
