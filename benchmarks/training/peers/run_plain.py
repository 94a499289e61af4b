"""The plainest training there is: transformers' own model and loss, every row in one padded batch, AdamW, from a given adapter."""

import math
import time
from pathlib import Path

from job import IGNORED, Count, Job


def main() -> None:
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer, get_scheduler

    job = Job()
    count = Count()
    documents = job.tokens()
    pad = AutoTokenizer.from_pretrained(job.model).pad_token_id
    base = AutoModelForCausalLM.from_pretrained(job.model, dtype=torch.float32)
    model = PeftModel.from_pretrained(base, adapter_of(Path(job.settings["adapter"])), is_trainable=True)
    fresh = [name for name, one in model.named_parameters() if "lora_B" in name and not one.any()]
    assert fresh, "the adapter to start from has been trained already, so the curves would not begin at the same place"
    trained = [one for one in model.parameters() if one.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=job.settings["learning_rate"], weight_decay=0.0)
    steps = job.settings["steps"]
    warm = math.ceil(job.settings["warmup"] * steps)
    schedule = get_scheduler(job.settings["schedule"], optimizer, num_warmup_steps=warm, num_training_steps=steps)
    longest = max(map(len, documents))
    ids = torch.tensor([[*one, *[pad] * (longest - len(one))] for one in documents])
    mask = torch.tensor([[1] * len(one) + [0] * (longest - len(one)) for one in documents])
    labels = ids.masked_fill(mask == 0, IGNORED)
    losses = []
    began = time.perf_counter()
    for _ in range(steps):
        loss = model(input_ids=ids, attention_mask=mask, labels=labels, use_cache=False).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad(set_to_none=True)
        losses.append(loss.item())
    count.seconds = time.perf_counter() - began
    count.steps, count.tokens, count.targets = steps, steps * int(mask.sum()), steps * int((labels[:, 1:] != IGNORED).sum())
    job.answer(count, losses)


def adapter_of(checkpoint: Path) -> str:
    """The folder of a checkpoint that holds the adapter."""
    found = next(checkpoint.rglob("adapter_config.json"), None)
    assert found is not None, f"{checkpoint} holds no adapter"
    return str(found.parent)


if __name__ == "__main__":
    main()
