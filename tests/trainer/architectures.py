"""Random models of a few tokens' width, one for each way in which architectures differ where training looks inside them."""

import warnings
from pathlib import Path
from typing import Any

SIZE: dict[str, Any] = {
    "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 8,
    "intermediate_size": 88, "max_position_embeddings": 512, "initializer_range": 0.06,
}  # fmt: skip
EXPERTS = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 16}
LINEAR = {
    "shared_expert_intermediate_size": 16, "linear_num_value_heads": 4, "linear_num_key_heads": 2, "linear_key_head_dim": 8,
    "linear_value_head_dim": 8,
}  # fmt: skip
EYES = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2, "image_size": 28, "patch_size": 14}
WITH_EYES = {"gemma3": "gemma3_text"}
"""Models of text and pictures, and their language model."""
WINDOW = 16
"""Of sliding attention: shorter than an example."""
CONFIGS: dict[str, dict[str, Any]] = {
    "llama": {},
    "qwen2": {},
    "qwen3": {},
    "mistral": {"sliding_window": WINDOW},
    "gemma3_text": {"sliding_window": WINDOW, "query_pre_attn_scalar": 8},
    "phi3": {},
    "granite": {"logits_scaling": 8.0},
    "qwen3_moe": EXPERTS,
    "phimoe": {"num_local_experts": 4, "router_jitter_noise": 0.0, "input_jitter_noise": 0.0},
    "gemma3": {},
    "gemma2": {"sliding_window": WINDOW, "query_pre_attn_scalar": 8},
    "gpt2": {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 512},
    "gpt_oss": {"sliding_window": WINDOW, "num_local_experts": 4, "num_experts_per_tok": 2},
    "qwen3_next": EXPERTS | LINEAR,
    "llama4_text": {"attention_chunk_size": 128, "num_local_experts": 2, "intermediate_size_mlp": 88},
}


def make(folder: Path, kind: str, **changed: Any) -> Path:
    """A model folder with the sandbox's tokenizer and chat template, and a few rows more than tokens, as real models have."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    from llmlab.sandbox.model import make_tokenizer

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        tokenizer = make_tokenizer(0)
        torch.manual_seed(0)
        ends = {"bos_token_id": None, "eos_token_id": tokenizer.eos_token_id, "pad_token_id": tokenizer.pad_token_id}
        text = {"model_type": kind, "vocab_size": len(tokenizer) + 8} | SIZE | CONFIGS[kind] | changed | ends
        if kind in WITH_EYES:
            text["model_type"] = WITH_EYES[kind]
            text = {"model_type": kind, "text_config": text | CONFIGS[WITH_EYES[kind]], "vision_config": EYES, **ends}
        config = AutoConfig.for_model(**text)
        AutoModelForCausalLM.from_config(config).save_pretrained(folder)
        tokenizer.save_pretrained(folder)
    return folder
