"""The base model's own files in what comes out: its tokenizer, config and generation config, byte for byte.

transformers 5 writes forms that transformers 4, and with it servers and converters, cannot open, or read otherwise: tokenizers of a
class `TokenizersBackend` and special tokens as a list (https://github.com/ml-explore/mlx-lm/issues/683,
https://github.com/unslothai/unsloth/issues/8444), and configs with `rope_parameters` where `rope_theta` was
(https://github.com/huggingface/transformers/blob/main/MIGRATION_GUIDE_V5.md), without which a model turns its positions by a default angle.
The base's own files open where the base does. What a run changed is put into them as the smallest change, and what is written is opened
again and compared; only where that fails does transformers write its own form, which is said.
"""

import json
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, is_dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from llmlab.dataset.rendering.model_files import CONFIG as TOKENIZER_CONFIG, MODEL, MORE, NAMES, TEMPLATE, VOCABULARY
from llmlab.files import replace_text
from llmlab.trainer.model import stop_tokens

PROCESSOR_TEMPLATE = "chat_template.json"
GENERATION = "generation_config.json"
STOPS = "eos_token_id"
"""The key of the tokens at which generation ends, one or a list: in this file, and where there is none in the config."""
TOKENIZER = (
    VOCABULARY, TOKENIZER_CONFIG, NAMES, TEMPLATE, f"{MORE}/*.jinja", PROCESSOR_TEMPLATE, "added_tokens.json", "vocab.json", "merges.txt",
    "vocab.txt", "tekken.json", "*.model", "tokenizer.model.*", "*.tiktoken",
)  # fmt: skip
"""What the tokenizers of transformers are read from (`vocab_files_names` of each, https://github.com/huggingface/transformers)."""
PROCESSORS = ("preprocessor_config.json", "processor_config.json", "video_preprocessor_config.json")
"""What makes numbers of pictures and sound (https://huggingface.co/docs/transformers/main/en/processors); servers ask for it."""
PLAIN_CLASS = "PreTrainedTokenizerFast"
"""The class that reads tokenizer.json as it stands, by the name that transformers 4 and 5 both know; 5 has another of its own."""
NEW_CLASS = "TokenizersBackend"
INCIDENTAL = {"use_cache", "transformers_version", "_name_or_path", "dtype", "torch_dtype"}
"""Keys of a config that say nothing of what the weights compute."""
ADDED = ("content", "single_word", "lstrip", "rstrip", "normalized", "special")


def write_tokenizer(folder: Path, tokenizer: Any, bases: Iterable[Path | None]) -> bool:
    """Put the files of the first of `bases` that has a tokenizer into a folder, changed where `tokenizer` says otherwise.

    Returns whether that was possible; else transformers has written the tokenizer in its own form.
    """
    base = next((base for base in bases if base is not None and any(_files(base))), None)
    if base is not None:
        for file in _files(base):
            place = folder / file.relative_to(base)
            place.parent.mkdir(exist_ok=True)
            shutil.copyfile(file, place)
        with suppress(Exception):  # strangers' files are odd in any way, and a run that is paid for ends with a tokenizer all the same
            if _mended(folder, tokenizer):
                return True
        for file in list(_files(folder)):
            file.unlink()
    tokenizer.save_pretrained(str(folder))
    return False


def write_generation_config(folder: Path, base: Path | None, tokenizer: Any) -> list[str]:
    """The base's generation config, none where the base has none, with the tokens that answers were taught to end with.

    Returns those of them at which the base does not stop.
    """
    if base is None:
        return []
    (folder / GENERATION).unlink(missing_ok=True)
    if (base / GENERATION).is_file():
        shutil.copyfile(base / GENERATION, folder / GENERATION)
    return _add_stops(folder, base, tokenizer)


def _add_stops(folder: Path, base: Path, tokenizer: Any) -> list[str]:
    config = _object(folder / GENERATION)
    known = stop_tokens.ids((config or _object(base / MODEL)).get(STOPS))
    stopping = stop_tokens.with_taught(tokenizer, known)
    if stopping == known:
        return []
    replace_text(folder / GENERATION, json.dumps({**config, STOPS: stopping}, indent=2) + "\n")
    names: list[str] = tokenizer.convert_ids_to_tokens(stopping[len(known) :])
    return names


def _object(file: Path) -> dict[str, Any]:
    """What a file of JSON holds; nothing where there is none, or no object."""
    try:
        held = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return held if isinstance(held, dict) else {}


def write_config(folder: Path, base: Path | None) -> None:
    """The base's config for the whole model that transformers has saved in a folder.

    The base's file is taken as it is where transformers reads the same from it as from its own. The weights of a base in 4 or 8 bits come
    out without `quantization_config`, and of a model that also sees or hears the language part alone may; a whole one gets its processor.
    """
    if base is None or not (base / MODEL).is_file():
        return
    saved = _config(folder)
    text = (base / MODEL).read_text(encoding="utf-8")
    for candidate in _configs(text, json.loads((folder / MODEL).read_text(encoding="utf-8"))):
        if _reads_as(candidate, saved):
            replace_text(folder / MODEL, candidate)
            break
    else:
        _keep_words(folder / MODEL, json.loads(text))
    if json.loads((folder / MODEL).read_text(encoding="utf-8")).get("model_type") == json.loads(text).get("model_type"):
        for name in PROCESSORS:
            if (base / name).is_file():
                shutil.copyfile(base / name, folder / name)


def _files(folder: Path) -> Iterator[Path]:
    return (file for pattern in TOKENIZER for file in sorted(folder.glob(pattern)) if file.is_file())


# ---------------------------------------------------------------- the tokenizer


def _mended(folder: Path, tokenizer: Any) -> bool:
    """Whether a folder's tokenizer is `tokenizer`, after the smallest change that makes it so."""
    opened = _opened(folder)
    for mend in (_name_class, _add_tokens, _put_template):
        if _same(opened, tokenizer):
            return True
        if mend(folder, opened, tokenizer):
            opened = _opened(folder)
    return _same(opened, tokenizer)


def _opened(folder: Path) -> Any:
    """The tokenizer of a folder, None where transformers cannot open it."""
    from transformers import AutoTokenizer

    try:
        return AutoTokenizer.from_pretrained(folder)
    except Exception:  # noqa: BLE001 - the libraries' own, of every kind
        return None


def _same(opened: Any, tokenizer: Any) -> bool:
    if opened is None or not _same_template(opened, tokenizer):
        return False
    return _tokenization(opened) == _tokenization(tokenizer)


def _same_template(opened: Any, tokenizer: Any) -> bool:
    """Whether both have one template, or the same ones by name; Jinja and transformers take every line end for one of Unix."""
    texts, others = (json.dumps(each.chat_template, sort_keys=True).replace("\\r\\n", "\\n") for each in (opened, tokenizer))
    return texts == others


def _tokenization(tokenizer: Any) -> tuple[Any, dict[str, Any]]:
    """All that decides which ids a text becomes, and the tokens that have names. What batches are filled up with is not the tokenizer's."""
    names = {name: token for name, token in tokenizer.special_tokens_map.items() if name != "pad_token"}
    if not getattr(tokenizer, "is_fast", False):
        return tokenizer.get_vocab(), names
    whole = json.loads(tokenizer.backend_tokenizer.to_str())
    return {part: value for part, value in whole.items() if part not in {"padding", "truncation"}}, names


def _add_tokens(folder: Path, opened: Any, tokenizer: Any) -> bool:
    """Write the tokens that a tokenizer of the base's files does not have into them."""
    file, config = folder / VOCABULARY, folder / TOKENIZER_CONFIG
    known = opened.get_vocab() if opened is not None and file.is_file() else tokenizer.get_vocab()
    new = {
        number: {name: getattr(token, name) for name in ADDED}
        for number, token in sorted(tokenizer.added_tokens_decoder.items())
        if token.content not in known
    }
    if not new:
        return False
    added = json.loads(file.read_text(encoding="utf-8")).get("added_tokens", [])
    _change(file, {"added_tokens": [*added, *({"id": number, **token} for number, token in new.items())]})
    decoder = json.loads(config.read_text(encoding="utf-8")).get("added_tokens_decoder") if config.is_file() else None
    if isinstance(decoder, dict):
        _change(config, {"added_tokens_decoder": {**decoder, **{str(number): token for number, token in new.items()}}})
    return True


def _name_class(folder: Path, opened: Any, tokenizer: Any) -> bool:
    """Name the tokenizer's class where the base's config.json tells it, which an adapter's folder does not have."""
    if type(opened) is type(tokenizer):
        return False
    name = type(tokenizer).__name__
    _change(folder / TOKENIZER_CONFIG, {"tokenizer_class": PLAIN_CLASS if name == NEW_CLASS else name})
    return True


def _put_template(folder: Path, opened: Any, tokenizer: Any) -> bool:
    """Put the run's chat template to every place where the base has its own; transformers and llama.cpp do not prefer the same one.

    https://huggingface.co/docs/transformers/main/en/chat_templating; `_try_load_from_tokenizer_json` of
    https://github.com/ggml-org/llama.cpp/blob/master/gguf-py/gguf/vocab.py.
    """
    template = tokenizer.chat_template
    if opened is None or _same_template(opened, tokenizer):
        return False
    shutil.rmtree(folder / MORE, ignore_errors=True)
    texts = template if isinstance(template, dict) else {"default": template} if template else {}
    config, several = folder / TOKENIZER_CONFIG, len(texts) > 1
    stands = config.is_file() and "chat_template" in json.loads(config.read_text(encoding="utf-8"))
    default = texts.get("default")
    if stands:
        _change(config, {"chat_template": default if not several else [{"name": name, "template": text} for name, text in texts.items()]})
    if (folder / PROCESSOR_TEMPLATE).is_file():
        _change(folder / PROCESSOR_TEMPLATE, {"chat_template": default})
    if default is None or (stands and not (folder / TEMPLATE).is_file()):
        (folder / TEMPLATE).unlink(missing_ok=True)
        return True
    replace_text(folder / TEMPLATE, default)
    for name in texts.keys() - {"default"}:
        replace_text(folder / MORE / f"{name}.jinja", texts[name])
    return True


# ---------------------------------------------------------------- the config


def _configs(text: str, saved: Mapping[str, Any]) -> Iterator[str]:
    """What may be the config of a whole model, made from its base's file: as it is, in whole numbers, the language part alone."""
    yield text
    base = json.loads(text)
    plain = {key: value for key, value in base.items() if key != "quantization_config"}
    if plain != base:
        yield _written(plain)
    changed = {key: saved[key] for key in ("tie_word_embeddings", "vocab_size") if key in saved}
    if changed:  # a module that learned whole is tied to nothing, and a recipe may add tokens
        yield _written({**plain, **changed})
    if isinstance(part := plain.get("text_config"), dict):
        names = {key: saved[key] for key in ("architectures", "model_type") if key in saved}
        kept = {key: saved[key] for key in ("bos_token_id", "eos_token_id", "pad_token_id", "tie_word_embeddings") if key in saved}
        kinds = {key: plain[key] for key in ("torch_dtype", "dtype") if key in plain}
        grown = {key: value for key, value in changed.items() if key in part}
        yield _written({**kept, **kinds, **part, **grown, **names})


def _reads_as(text: str, saved: Any) -> bool:
    """Whether transformers makes the same of a config.json with this text."""
    with TemporaryDirectory() as aside, suppress(Exception):  # what is tried here may be no config at all, in any way
        Path(aside, MODEL).write_text(text, encoding="utf-8")
        return bool(_config(Path(aside)) == saved)
    return False


def _config(folder: Path) -> Any:
    """What transformers makes of a config, without what says nothing of the weights."""
    from transformers import AutoConfig

    return _essence(AutoConfig.from_pretrained(folder).to_dict())


def _essence(value: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        value = asdict(value)
    if isinstance(value, Mapping):
        return {key: _essence(inner) for key, inner in value.items() if key not in INCIDENTAL}
    return [_essence(inner) for inner in value] if isinstance(value, list | tuple) else value


def _keep_words(file: Path, base: Mapping[str, Any]) -> None:
    """Put what the base says of caching and of its number format into a config that is otherwise the trained model's."""
    known = {"use_cache": base.get("use_cache", True), "dtype": base.get("dtype", base.get("torch_dtype"))}
    _change(file, {key: value for key, value in known.items() if value is not None})


def _change(file: Path, keys: Mapping[str, Any]) -> None:
    """Set keys of a JSON file; the others, their order and values, stay."""
    content = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    replace_text(file, _written({**content, **keys}))


def _written(content: Mapping[str, Any]) -> str:
    return json.dumps(content, ensure_ascii=False, indent=2) + "\n"
