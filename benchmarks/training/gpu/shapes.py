"""Public architectures, whole or cut to a few layers, of random weights, with documents of one length for them."""

import json
import os
import random
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks.training import assets

LORA_RANK = 16


@dataclass(frozen=True)
class Model:
    """A public architecture, as in its `config.json`."""

    name: str
    settings: Mapping[str, Any]

    def cut(self, layers: int) -> "Model":
        """The same with fewer layers: what a layer costs does not depend on how many there are."""
        return replace(self, name=f"{self.name}, {layers} layers", settings={**self.settings, "num_hidden_layers": layers})

    def operations(self, length: int) -> float:
        """Floating point operations that training one token of a document of this length needs, with a LoRA of `LORA_RANK` on q and v.

        4 N + 6 A + 6 s h l: N frozen parameters that multiply, A that learn, s tokens a document, h hidden size, l layers (Chowdhery et al.
        2022, arXiv 2204.02311, appendix B, without the gradients that frozen weights do not need, and with half of attention's products,
        because it is causal).
        """
        hidden, inner, layers, vocabulary = (
            self.settings[key] for key in ("hidden_size", "intermediate_size", "num_hidden_layers", "vocab_size")
        )
        narrow = hidden * self.settings["num_key_value_heads"] // self.settings["num_attention_heads"]
        multiplying = layers * (2 * hidden * hidden + 2 * hidden * narrow + 3 * hidden * inner) + hidden * vocabulary
        learning = layers * LORA_RANK * (2 * hidden + hidden + narrow)
        return float(4 * multiplying + 6 * learning + 6 * length * hidden * layers)


COMMON = {"vocab_size": 128_256, "max_position_embeddings": 131_072, "rms_norm_eps": 1e-5, "num_key_value_heads": 8}
LLAMA3 = {"rope_type": "llama3", "rope_theta": 500_000.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0}
ONE_B = Model(
    "Llama 3.2 1B",
    COMMON
    | {"hidden_size": 2048, "intermediate_size": 8192, "num_hidden_layers": 16, "num_attention_heads": 32, "head_dim": 64}
    | {"tie_word_embeddings": True, "rope_parameters": LLAMA3 | {"factor": 32.0, "original_max_position_embeddings": 8192}},
)
EIGHT_B = Model(
    "Llama 3.1 8B",
    COMMON
    | {"hidden_size": 4096, "intermediate_size": 14_336, "num_hidden_layers": 32, "num_attention_heads": 32, "head_dim": 128}
    | {"tie_word_embeddings": False, "rope_parameters": LLAMA3 | {"factor": 8.0, "original_max_position_embeddings": 8192}},
)
TINY = Model(
    "a Llama of a CPU's size",
    {"vocab_size": 2048, "max_position_embeddings": 2048, "rms_norm_eps": 1e-5, "num_key_value_heads": 2, "hidden_size": 128}
    | {"intermediate_size": 352, "num_hidden_layers": 2, "num_attention_heads": 4, "head_dim": 32, "tie_word_embeddings": False},
)


def make(folder: Path, model: Model, device: str, length: int, documents: int) -> Path:
    """A folder as `assets.make` leaves one: the random model, made on the device, and documents of just under `length` tokens."""
    from transformers import AutoTokenizer

    name = "".join(letter if letter.isalnum() else "-" for letter in model.name)
    place = folder / f"{name}-{documents}x{length}"
    if (place / "tokens.json").is_file():
        return place
    chance = random.Random(assets.SEED)
    shape = assets.SMALL if device == "cpu" else assets.MID
    language = assets.vocabulary_of(shape.words, chance)
    whole = folder / f"{name}-model"
    if whole.is_dir():
        tokenizer = AutoTokenizer.from_pretrained(whole)
    else:
        tokenizer = assets.learn_tokenizer(language, shape.vocabulary)
        aside = folder / f"{name}-model-{os.getpid()}"  # a part that is killed meanwhile leaves no half of a model to the next
        built = build(model, device, eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id)
        built.save_pretrained(aside)
        tokenizer.save_pretrained(aside)
        aside.rename(whole)
    place.mkdir(parents=True, exist_ok=True)
    (place / "model").unlink(missing_ok=True)
    (place / "model").symlink_to(whole.resolve())
    sizes = dict(zip(language, map(len, tokenizer([f" {word}" for word in language])["input_ids"]), strict=True))
    rows = []
    for _ in range(documents):
        words, room = [], length - 64
        while room > 8:
            words.append(chance.choice(language))
            room -= sizes[words[-1]]
        messages = [("system", assets.SYSTEM), ("user", "How do I do it?"), ("assistant", "You " + " ".join(words))]
        rows.append({"messages": [{"role": role, "content": content} for role, content in messages]})
    assets.write_rows(place, tokenizer, rows)
    longest = max(map(len, json.loads((place / "tokens.json").read_text(encoding="utf-8"))))
    assert longest <= length, f"a document has {longest} tokens"
    return place


def build(model: Model, device: str, dtype: str = "bfloat16", **ends: int) -> Any:
    """A Llama of random weights, made where it is to compute, because it takes minutes elsewhere."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(assets.SEED)
    before = torch.get_default_dtype()
    torch.set_default_dtype(getattr(torch, dtype))
    try:
        with torch.device(device):
            return LlamaForCausalLM(LlamaConfig(**model.settings, bos_token_id=None, **ends))
    finally:
        torch.set_default_dtype(before)
