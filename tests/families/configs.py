"""Small configurations of transformers' own classes: one for all families, and what some need otherwise. Nothing is downloaded."""

from typing import Any

from tests.trainer.architectures import EXPERTS, EYES, LINEAR, SIZE, WINDOW

LARGEST = 40_000_000
"""Weights. What is larger has parts whose size no field of these sets, and is in `NOT_TRIED`."""
USUAL = SIZE | EXPERTS | LINEAR | {"num_local_experts": 4, "n_routed_experts": 4, "sliding_window": WINDOW}
LATENT: dict[str, Any] = {
    "q_lora_rank": 16, "kv_lora_rank": 16, "qk_nope_head_dim": 8, "qk_rope_head_dim": 8, "v_head_dim": 8, "num_key_value_heads": 4,
    "n_group": 1, "topk_group": 1, "n_shared_experts": 1,
}  # fmt: skip
"""Attention by latent vectors, as DeepSeek's."""
INDEXED = LATENT | {"index_topk": 16, "index_head_dim": 16, "index_n_heads": 2}
STATES: dict[str, Any] = {"mamba_n_heads": 8, "mamba_d_head": 8, "mamba_d_state": 16, "mamba_chunk_size": 16, "mamba_expand": 2}
ENCODERS = {"encoder_layers": 2, "decoder_layers": 2, "encoder_ffn_dim": 64, "decoder_ffn_dim": 64, "d_model": 32}
ENCODERS |= {"encoder_attention_heads": 4, "decoder_attention_heads": 4}
OTHERWISE: dict[str, dict[str, Any]] = {
    **dict.fromkeys(("deepseek_v2", "deepseek_v3", "axk1", "glm4_moe_lite", "longcat_flash", "youtu", "minicpm3"), LATENT),
    **dict.fromkeys(("deepseek_v32", "axk2", "glm_moe_dsa", "dots3_note_text", "hy_v4"), INDEXED),
    **dict.fromkeys(("bamba", "granitemoehybrid"), STATES),
    **dict.fromkeys(("plbart", "bart", "mbart", "mvp", "pegasus", "marian", "blenderbot", "blenderbot-small", "bigbird_pegasus"), ENCODERS),
    "longcat_flash": LATENT | {"num_layers": 1, "ffn_hidden_size": 64, "expert_ffn_hidden_size": 16, "moe_topk": 2, "head_dim": 8},
    "codegen": {"rotary_dim": 8},
    "dbrx": {
        "attn_config": {"kv_n_heads": 2, "rope_theta": 10_000.0, "clip_qkv": 8.0}, "d_model": 32,
        "ffn_config": {"moe_num_experts": 4, "ffn_hidden_size": 64},
    },
    "dots1": {"n_shared_experts": 1},
    "electra": {"embedding_size": 32},
    "falcon": {"head_dim": None},
    "falcon_h1": STATES | {"mamba_d_ssm": 64},
    "fuyu": SIZE,
    "gemma2": {"query_pre_attn_scalar": 8},
    "gemma3_text": {"query_pre_attn_scalar": 8},
    "gemma4_text": {"vocab_size_per_layer_input": 600, "hidden_size_per_layer_input": 8, "global_head_dim": 8, "num_kv_shared_layers": 0},
    "gpt2": {"n_embd": 32, "n_layer": 2, "n_head": 4},
    "gpt_neo": {"num_layers": 2, "attention_types": [[["global", "local"], 1]], "num_heads": 4, "window_size": WINDOW},
    "gptj": {"rotary_dim": 8},
    "lfm2_moe": {"layer_types": ["conv", "full_attention"], "num_dense_layers": 1},
    "llama4_text": {"attention_chunk_size": 128, "num_local_experts": 2, "intermediate_size_mlp": 88},
    "mamba2": {"num_heads": 8, "head_dim": 8, "n_groups": 1, "state_size": 16, "chunk_size": 16},
    "nemotron_h": {
        "layers_block_type": ["mamba", "attention", "mlp"], "ssm_state_size": 16, "mamba_num_heads": 8, "mamba_head_dim": 8, "n_groups": 1,
        "chunk_size": 16,
    },
    "phi3": {"pad_token_id": 2},
    "prophetnet": {"num_hidden_layers": None, "num_encoder_layers": 2, "num_decoder_layers": 2},
    "rembert": {"input_embedding_size": 32, "output_embedding_size": 32},
    "zaya": {"num_experts_per_tok": 1},
    "zamba2": {"layers_block_type": ["mamba", "hybrid"], "mamba_d_state": 16, "n_mamba_heads": 8, "chunk_size": 16},
}  # fmt: skip
"""Fields of a family, beside or instead of `USUAL`; None leaves a field out."""
WITH_EYES = {"gemma3": "gemma3_text", "qwen3_5": "qwen3_5_text", "qwen3_5_moe": "qwen3_5_moe_text"}
"""Families of text and pictures, and their language model."""
TOWERS = "no field makes its towers small"
NOT_TRIED = {
    **dict.fromkeys(("emu3", "gemma4", "gemma4_unified", "git", "got_ocr2", "llama4", "mllama", "phi4_multimodal", "qwen4_exp"), TOWERS),
    **dict.fromkeys(("moss_transcribe_diarize", "musicgen", "musicgen_melody", "whisper", "dots3_note"), TOWERS),
    **dict.fromkeys(("gemma4_assistant", "gemma4_unified_assistant"), "drafts for another model, which it reads"),
    "gemma3n": "its tower needs the package timm",
    "gemma3n_text": "its layers share keys from the tenth on",
    "blt": "reads bytes, by a model of its own",
    "cohere_compass_text": "its own configuration lacks a field that its model reads",
    "reformer": "wants rows of one length",
    "xlnet": "has no longest row, and is no causal model as it stands",
    "zamba": "its tied weights are named by the layers of the published model",
}
"""Families without a small configuration here, and why."""


def _known(family: str) -> dict[str, Any]:
    """Those of the usual fields that a family's configuration has: others would stand in it, and tell of experts where there are none."""
    from transformers import AutoConfig

    config = AutoConfig.for_model(family)
    return {key: value for key, value in USUAL.items() if key in config.to_dict() or key in config.attribute_map}


def fields(family: str, tokenizer: Any) -> dict[str, Any]:
    """What `AutoConfig.for_model` takes: a few rows more than the tokenizer has tokens, as real models have."""
    ends = {"bos_token_id": tokenizer.eos_token_id, "eos_token_id": tokenizer.eos_token_id, "pad_token_id": tokenizer.pad_token_id}
    sized = _known(WITH_EYES.get(family, family)) | {"vocab_size": len(tokenizer) + 8} | ends
    if family in WITH_EYES:
        text = {key: value for key, value in (sized | OTHERWISE.get(WITH_EYES[family], {})).items() if value is not None}
        return {"model_type": family, "text_config": {"model_type": WITH_EYES[family], **text}, "vision_config": EYES, **ends}
    return {"model_type": family} | {key: value for key, value in (sized | OTHERWISE.get(family, {})).items() if value is not None}
