"""A base model's folder in the forms that transformers 4 and 5 write, and what of it has to come out of a run byte for byte."""

import json
import shutil
from pathlib import Path
from typing import Any

from llmlab.files import sha256

TOKENIZER = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "chat_template.jinja", "vocab.json", "merges.txt")
TEXTS = ("How do I restart the old server?", "<|start|>user\nHi<|end|>\n", "  spaces\tand tabs\n\n", "Grüße, 世界 🌍", "")
TALK = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]


def written_by_4(folder: Path, model: Path) -> Path:
    """The model as transformers 4 leaves one: merges are texts, the template stands in the config, angles in `rope_theta`, nothing pads."""
    shutil.copytree(model, folder)
    tokenizer = read(folder / "tokenizer.json")
    pairs = [tuple(pair) for pair in tokenizer["model"]["merges"]]
    tokenizer["model"]["merges"] = [" ".join(pair) for pair in pairs]
    write(folder / "tokenizer.json", tokenizer)
    write(folder / "vocab.json", tokenizer["model"]["vocab"])
    (folder / "merges.txt").write_text("".join(["#version: 0.2\n", *(f"{left} {right}\n" for left, right in pairs)]))
    added = {str(token["id"]): {key: value for key, value in token.items() if key != "id"} for token in tokenizer["added_tokens"]}
    config = {
        "added_tokens_decoder": added,
        "additional_special_tokens": ["<|start|>"],
        "chat_template": (folder / "chat_template.jinja").read_text(),
        "clean_up_tokenization_spaces": False,
        "eos_token": "<|end|>",
        "model_max_length": 4096,
        "pad_token": None,
        "tokenizer_class": "PreTrainedTokenizerFast",
    }
    write(folder / "tokenizer_config.json", config)
    write(folder / "special_tokens_map.json", {"additional_special_tokens": ["<|start|>"], "eos_token": added["1"]})
    (folder / "chat_template.jinja").unlink()
    kept = {key: value for key, value in read(folder / "config.json").items() if key not in {"dtype", "rope_parameters", "pad_token_id"}}
    write(
        folder / "config.json",
        {**kept, "rope_scaling": None, "rope_theta": 50000.0, "torch_dtype": "float32", "transformers_version": "4.51.0"},
    )
    write(
        folder / "generation_config.json", {"do_sample": True, "eos_token_id": [1, 0], "temperature": 0.6, "transformers_version": "4.51.0"}
    )
    return folder


def written_by_5(folder: Path, model: Path) -> Path:
    """The model as transformers 5 leaves one, without a token to pad with."""
    shutil.copytree(model, folder)
    config = read(folder / "tokenizer_config.json")
    config.pop("pad_token")
    write(folder / "tokenizer_config.json", {**config, "extra_special_tokens": ["<|start|>"]})
    return folder


FORMS = {"transformers 4": written_by_4, "transformers 5": written_by_5}


def digests(folder: Path, names: tuple[str, ...]) -> dict[str, str]:
    return {name: sha256(folder / name) for name in names if (folder / name).is_file()}


def said(tokenizer: Any) -> list[Any]:
    """What a tokenizer makes of texts and of a conversation."""
    rendered = [tokenizer.apply_chat_template(TALK, tokenize=False, add_generation_prompt=ask) for ask in (False, True)]
    return [*(list(tokenizer(text)["input_ids"]) for text in TEXTS), *rendered, tokenizer.eos_token, tokenizer.pad_token]


def read(file: Path) -> Any:
    return json.loads(file.read_text())


def write(file: Path, value: Any) -> None:
    file.write_text(json.dumps(value, ensure_ascii=False, indent=2))
