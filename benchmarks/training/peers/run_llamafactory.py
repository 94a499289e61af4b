"""LLaMA-Factory: what `llamafactory-cli train` runs, with a template that is registered the way its documentation says.

`train_on_prompt` puts loss on all tokens, as the other contestants have it.
"""

import json
import sys
from importlib.machinery import ModuleSpec
from types import ModuleType

from job import LEARNING_RATE, LORA, Count, Job, losses_of, watch

TEMPLATE = "bench"


def no_audio() -> None:
    """An empty torchaudio: the package is imported for models that hear, and its wheel loads CUDA's libraries."""
    absent = ModuleType("torchaudio")
    absent.__spec__ = ModuleSpec("torchaudio", None)
    sys.modules["torchaudio"] = absent


def main() -> None:
    no_audio()
    from llamafactory.data.formatter import StringFormatter
    from llamafactory.data.template import register_template
    from llamafactory.train.sft.trainer import CustomSeq2SeqTrainer
    from llamafactory.train.tuner import run_exp

    job = Job()
    count = Count()
    states: list[object] = []
    watch(CustomSeq2SeqTrainer, count, states)
    register_template(
        name=TEMPLATE,
        format_system=StringFormatter(slots=["<|im_start|>system\n{{content}}<|im_end|>"]),
        format_user=StringFormatter(slots=["\n<|im_start|>user\n{{content}}<|im_end|>\n<|im_start|>assistant\n"]),
        format_assistant=StringFormatter(slots=["{{content}}<|im_end|>"]),
        stop_words=["<|im_end|>"],
    )
    tags = {"role_tag": "role", "content_tag": "content", "user_tag": "user", "assistant_tag": "assistant", "system_tag": "system"}
    rows = {
        "file_name": str(job.assets / "chat" / "train.jsonl"),
        "formatting": "sharegpt",
        "columns": {"messages": "messages"},
        "tags": tags,
    }
    (job.scratch / "dataset_info.json").write_text(json.dumps({"rows": rows}), encoding="utf-8")
    run_exp(
        {
            "model_name_or_path": job.model,
            "stage": "sft",
            "do_train": True,
            "finetuning_type": "lora",
            "lora_rank": LORA["rank"],
            "lora_alpha": LORA["alpha"],
            "lora_dropout": LORA["dropout"],
            "lora_target": ",".join(LORA["targets"]),
            "dataset_dir": str(job.scratch),
            "dataset": "rows",
            "template": TEMPLATE,
            "train_on_prompt": True,
            "overwrite_cache": True,
            "output_dir": str(job.scratch / "out"),
            "learning_rate": LEARNING_RATE,
            "num_train_epochs": job.epochs,
            "logging_steps": 10,
            "save_strategy": "no",
            "use_cpu": True,
            "bf16": True,
            "report_to": "none",
            **job.settings,
        }
    )
    job.answer(count, losses_of(states[0]))


if __name__ == "__main__":
    main()
