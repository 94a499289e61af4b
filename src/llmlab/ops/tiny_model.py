"""A model and examples for it, small enough to be made by the standard library in a second: what `doctor --gpu` trains.

A Llama with random weights whose heads are as wide as those of real ones, because kernels ask for that, and a tokenizer of bytes. It knows
nothing, so that a training which works is seen in its losses.
"""

import json
import random
from array import array
from pathlib import Path
from typing import Any

HIDDEN, INNER, LAYERS, HEADS, SHARED, HEAD = 128, 352, 2, 2, 1, 64
SPECIAL = ("<|start|>", "<|end|>", "<|pad|>")
VOCABULARY = 256 + len(SPECIAL) + 5
"""Tokens, and a few rows more, as real models have."""
TEMPLATE = (
    "{%- for message in messages -%}{{- '<|start|>' + message.role + '\\n' -}}"
    "{%- if message.role == 'assistant' -%}{%- generation -%}{{- message.content + '<|end|>' -}}{%- endgeneration -%}"
    "{%- else -%}{{- message.content + '<|end|>' -}}{%- endif -%}{{- '\\n' -}}{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{- '<|start|>assistant\\n' -}}{%- endif -%}"
)
EXAMPLES = 64


def make(folder: Path) -> tuple[Path, Path]:
    """Write model and examples below a folder, the same bytes each time; returns their folders."""
    model, data = folder / "model", folder / "data"
    for place in (model, data):
        place.mkdir(parents=True, exist_ok=True)
    files = {"config": _config(), "tokenizer": _tokenizer(), "tokenizer_config": _tokenizer_config()}
    for name, content in files.items():
        (model / f"{name}.json").write_text(json.dumps(content, indent=1), encoding="utf-8")
    (model / "model.safetensors").write_bytes(_weights())
    (data / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in _rows()), encoding="utf-8")
    return model, data


def _rows() -> list[dict[str, Any]]:
    return [
        {
            "messages": [
                {"role": "user", "content": f"Which number comes after {number}?"},
                {"role": "assistant", "content": f"After {number} comes {number + 1}, and after that {number + 2}."},
            ]
        }
        for number in range(EXAMPLES)
    ]


def _config() -> dict[str, Any]:
    """The fields of https://huggingface.co/docs/transformers/model_doc/llama#transformers.LlamaConfig."""
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "vocab_size": VOCABULARY,
        "hidden_size": HIDDEN,
        "intermediate_size": INNER,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": HEADS,
        "num_key_value_heads": SHARED,
        "head_dim": HEAD,
        "hidden_act": "silu",
        "max_position_embeddings": 2048,
        "rms_norm_eps": 1e-5,
        "tie_word_embeddings": True,
        "bos_token_id": None,
        "eos_token_id": 257,
        "pad_token_id": 258,
        "torch_dtype": "bfloat16",
    }


def _tokenizer() -> dict[str, Any]:
    """A byte-level BPE without a merge: https://huggingface.co/docs/tokenizers/api/pre-tokenizers."""
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    added = [{"id": 256 + place, "content": word, **flags} for place, word in enumerate(SPECIAL)]
    bytes_of = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": added,
        "normalizer": None,
        "pre_tokenizer": bytes_of,
        "post_processor": None,
        "decoder": bytes_of,
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": False,
            "byte_fallback": False,
            "vocab": {letter: place for place, letter in enumerate(_letters())},
            "merges": [],
        },
    }


def _tokenizer_config() -> dict[str, Any]:
    return {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "eos_token": SPECIAL[1],
        "pad_token": SPECIAL[2],
        "model_max_length": 2048,
        "clean_up_tokenization_spaces": False,
        "chat_template": TEMPLATE,
    }


def _letters() -> list[str]:
    """How a byte-level tokenizer writes each byte: itself where it can be seen, else a letter from 256 on.

    https://github.com/openai/gpt-2/blob/master/src/encoder.py, `bytes_to_unicode`.
    """
    seen = {*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)}
    hidden = [byte for byte in range(256) if byte not in seen]
    return [chr(byte) if byte in seen else chr(256 + hidden.index(byte)) for byte in range(256)]


def _weights() -> bytes:
    """As https://github.com/huggingface/safetensors lays them out: the header's length, the header, the numbers, in bf16."""
    chance = random.Random(0)  # noqa: S311 - weights are no secrets
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    parts: list[bytes] = []
    size = 0
    for name, shape in _shapes().items():
        count = shape[0] * (shape[1] if len(shape) > 1 else 1)
        numbers = array("f", (chance.gauss(0, 0.06) for _ in range(count)) if len(shape) > 1 else [1.0] * count)
        whole = numbers.tobytes()
        half = bytearray(2 * count)
        half[0::2], half[1::2] = whole[2::4], whole[3::4]  # bf16 is the upper half of a float, whose bytes lie the lowest first
        parts.append(bytes(half))
        header[name] = {"dtype": "BF16", "shape": list(shape), "data_offsets": [size, size + len(half)]}
        size += len(half)
    described = json.dumps(header).encode()
    described += b" " * (-len(described) % 8)
    return len(described).to_bytes(8, "little") + described + b"".join(parts)


def _shapes() -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {"model.embed_tokens.weight": (VOCABULARY, HIDDEN), "model.norm.weight": (HIDDEN,)}
    for layer in range(LAYERS):
        begin = f"model.layers.{layer}."
        shapes |= {
            f"{begin}self_attn.q_proj.weight": (HEADS * HEAD, HIDDEN),
            f"{begin}self_attn.k_proj.weight": (SHARED * HEAD, HIDDEN),
            f"{begin}self_attn.v_proj.weight": (SHARED * HEAD, HIDDEN),
            f"{begin}self_attn.o_proj.weight": (HIDDEN, HEADS * HEAD),
            f"{begin}mlp.gate_proj.weight": (INNER, HIDDEN),
            f"{begin}mlp.up_proj.weight": (INNER, HIDDEN),
            f"{begin}mlp.down_proj.weight": (HIDDEN, INNER),
            f"{begin}input_layernorm.weight": (HIDDEN,),
            f"{begin}post_attention_layernorm.weight": (HIDDEN,),
        }
    return shapes
