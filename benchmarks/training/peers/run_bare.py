"""A loop of forty lines on transformers and PEFT, packed by best fit: what one writes who wants speed and nothing else."""

import random
import time

from job import IGNORED, LEARNING_RATE, LORA, Count, Job


def main() -> None:
    import torch
    from peft import LoraConfig, get_peft_model
    from torch.nn.functional import cross_entropy
    from transformers import AutoModelForCausalLM

    job = Job()
    count = Count()
    torch.manual_seed(0)
    documents = job.tokens()
    model = AutoModelForCausalLM.from_pretrained(job.model, dtype=getattr(torch, job.settings["dtype"]))
    adapter = LoraConfig(
        r=LORA["rank"], lora_alpha=LORA["alpha"], lora_dropout=LORA["dropout"], target_modules=LORA["targets"], task_type="CAUSAL_LM"
    )
    model = get_peft_model(model, adapter)
    model.train()
    trained = [one for one in model.parameters() if one.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=LEARNING_RATE, fused=True)
    packs = best_fit([len(one) for one in documents], job.settings["packed_to"])
    random.Random(0).shuffle(packs)
    losses = []
    began = time.perf_counter()
    for pack in packs * job.epochs:
        ids = torch.tensor([[token for index in pack for token in documents[index]]])
        positions = torch.tensor([[place for index in pack for place in range(len(documents[index]))]])
        labels = ids.masked_fill(positions == 0, IGNORED)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            logits = model(input_ids=ids, position_ids=positions, use_cache=False).logits
            loss = cross_entropy(logits[0, :-1].float(), labels[0, 1:], ignore_index=IGNORED)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        losses.append(loss.item())
        count.targets += int((labels[:, 1:] != IGNORED).sum())
        count.tokens += ids.numel()
    count.seconds = time.perf_counter() - began
    count.steps = len(losses)
    job.answer(count, losses)


def best_fit(lengths: list[int], capacity: int) -> list[list[int]]:
    """Indexes of documents, the longest first, each into the fullest pack that still has room."""
    packs: list[tuple[int, list[int]]] = []
    for index in sorted(range(len(lengths)), key=lambda one: -lengths[one]):
        fitting = [place for place, (room, _) in enumerate(packs) if room >= lengths[index]]
        if not fitting:
            packs.append((capacity, []))
            fitting = [len(packs) - 1]
        tightest = min(fitting, key=lambda place: packs[place][0])
        room, inside = packs[tightest]
        packs[tightest] = (room - lengths[index], [*inside, index])
    return [inside for _, inside in packs]


if __name__ == "__main__":
    main()
