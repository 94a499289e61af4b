"""Read the chat template and the tokenizer's settings from a model's folder as transformers does, without transformers.

A template stands in `chat_template.jinja`, with those for special occasions in `additional_chat_templates/`, or in `tokenizer_config.json`
(https://huggingface.co/docs/transformers/main/en/chat_templating). The tokens that have names of their own stand in
`tokenizer_config.json` and `special_tokens_map.json`, the vocabulary in `tokenizer.json`, which the package tokenizers reads.
"""

import json
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import Any

from llmlab.errors import UsageError, one_line

CONFIG, TEMPLATE, NAMES, VOCABULARY = "tokenizer_config.json", "chat_template.jinja", "special_tokens_map.json", "tokenizer.json"
MODEL = "config.json"
MORE = "additional_chat_templates"
SMALL = (CONFIG, TEMPLATE, NAMES, MODEL)
"""The files without the vocabulary, which has up to tens of megabytes."""
MOST_BYTES, MOST_VOCABULARY_BYTES = 4 << 20, 256 << 20
NAMED = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")


@dataclass(frozen=True)
class ModelFiles:
    """The folder of a model, or of its tokenizer's files alone. It has the members of a transformers tokenizer that templates need."""

    folder: Path
    template: str = ""
    """The recipe's template, in place of the folder's own; "" without one."""
    more_tokens: tuple[str, ...] = ()
    """The recipe's special tokens, beside the tokenizer's own."""

    @property
    def exist(self) -> bool:
        """Whether there is a template, or a file that may hold one."""
        return bool(self.template) or (self.folder / CONFIG).is_file() or (self.folder / TEMPLATE).is_file()

    @property
    def vocabulary(self) -> Path | None:
        file = self.folder / VOCABULARY
        return file if file.is_file() else None

    @cached_property
    def chat_template(self) -> str | dict[str, str] | None:
        """The template, several by their names, or none."""
        if self.template:
            return self.template
        files = {"default": self.folder / TEMPLATE}
        files |= {file.stem: file for file in sorted((self.folder / MORE).glob("*.jinja"))}
        texts = {name: self._text(file) for name, file in files.items() if file.is_file()}
        if texts:
            return texts["default"] if list(texts) == ["default"] else texts
        configured = self._config.get("chat_template")
        if isinstance(configured, list):
            return {
                str(item["name"]): str(item["template"])
                for item in configured
                if isinstance(item, dict) and {"name", "template"} <= item.keys()
            }
        return configured if isinstance(configured, str) else None

    def get_chat_template(self, tools: Any = None) -> str:
        """The template of a conversation, with tools or without."""
        template = self.chat_template
        if isinstance(template, dict):
            name = "tool_use" if tools is not None and "tool_use" in template else "default"
            if name not in template:
                raise UsageError(
                    f"the model in {self.folder} has several chat templates, and none of them is the default", "llmlab validate --help"
                )
            return template[name]
        return template or ""

    @cached_property
    def special_tokens_map(self) -> dict[str, str]:
        """Special tokens by name, which are a template's variables as well. The end token stands in for a missing padding token."""
        config = dict(self._config)
        if "added_tokens_decoder" not in config:
            config |= self._read(NAMES)
        named = {key: _content(value) for key, value in config.items() if key in NAMED or (key.endswith("_token") and _content(value))}
        extra = config.get("extra_special_tokens")
        named |= {key: _content(value) for key, value in extra.items()} if isinstance(extra, dict) else {}
        if not named.get("pad_token") and named.get("eos_token"):
            named["pad_token"] = named["eos_token"]
        return {key: value for key, value in named.items() if value}

    @cached_property
    def special(self) -> tuple[str, ...]:
        """Every control token."""
        config = self._config | self._read(NAMES)
        extra = config.get("extra_special_tokens") or config.get("additional_special_tokens")
        tokens = {*self.special_tokens_map.values(), *(map(_content, extra) if isinstance(extra, list) else ())}
        added = config.get("added_tokens_decoder")
        every = [*(added.values() if isinstance(added, dict) else ()), *self.added]
        tokens |= {_content(token) for token in every if isinstance(token, dict) and token.get("special")}
        return tuple(sorted({*tokens, *self.more_tokens} - {""}))

    @cached_property
    def added(self) -> list[dict[str, Any]]:
        """The tokens that the vocabulary file lists beside its vocabulary."""
        if self.vocabulary is None:
            return []
        added = self._read(VOCABULARY, MOST_VOCABULARY_BYTES).get("added_tokens")
        return [token for token in added if isinstance(token, dict)] if isinstance(added, list) else []

    @property
    def new_tokens(self) -> tuple[str, ...]:
        """Of the recipe's tokens those that the vocabulary does not have; none where it is not at hand."""
        if not self.more_tokens or self.vocabulary is None:
            return ()
        model = self._read(VOCABULARY, MOST_VOCABULARY_BYTES).get("model")
        entries = model.get("vocab", ()) if isinstance(model, dict) else ()
        known = {*(entry[0] if isinstance(entry, list) else entry for entry in entries), *(_content(token) for token in self.added)}
        return tuple(token for token in self.more_tokens if token not in known)

    @property
    def prepend_scheme(self) -> str:
        """Where a tokenizer of Llama's puts a space before a text: "first", "always" or "never"; "" for one that its file tells whole.

        transformers 5 reads such a tokenizer's vocabulary alone and makes the rest itself, but not for kinds of models that it knows to
        name this class wrongly, or that have another of their own; nor for vocabularies of bytes. Beyond Llama's own kind, whose files
        are most of them, the file is believed:
        https://github.com/huggingface/transformers/blob/main/src/transformers/models/auto/tokenization_auto.py.
        """
        config = self._config
        if str(config.get("tokenizer_class")).removesuffix("Fast") != "LlamaTokenizer":
            return ""
        if self._read(MODEL).get("model_type", "") not in {"llama", ""}:
            return ""
        if config.get("add_prefix_space") is False:
            return "never"
        return "always" if config.get("legacy") else "first"

    @cached_property
    def hash(self) -> str:
        """The SHA-256 that tells one template from another: of its texts, and of the special tokens that it gets."""
        identity = [self.get_chat_template(), self.get_chat_template([{}]), self.special_tokens_map]
        return sha256(json.dumps(identity, sort_keys=True).encode("utf-8", "surrogatepass")).hexdigest()

    @cached_property
    def _config(self) -> dict[str, Any]:
        return self._read(CONFIG)

    def _read(self, name: str, most: int = MOST_BYTES) -> dict[str, Any]:
        file = self.folder / name
        if not file.is_file():
            return {}
        try:
            value = json.loads(self._text(file, most))
        except (ValueError, RecursionError) as error:
            raise UsageError(f"{file} cannot be read: {one_line(error)}", "llmlab validate --help") from error
        return value if isinstance(value, dict) else {}

    def _text(self, file: Path, most: int = MOST_BYTES) -> str:
        try:
            with file.open("rb") as stream:
                raw = stream.read(most + 1)
            if len(raw) > most:
                raise UsageError(f"{file} is larger than {most >> 20} MiB", "llmlab validate --help")
            return raw.decode().replace("\r\n", "\n")
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(f"{file} cannot be read: {one_line(error)}", "llmlab validate --help") from error


def _content(token: Any) -> str:
    """A token's text; the files write it bare, or with how it is found."""
    content = token.get("content") if isinstance(token, dict) else token
    return content if isinstance(content, str) else ""
