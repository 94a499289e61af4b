"""`python -m llmlab.trainer.export.merge MODEL ADAPTER OUT`: merge base and adapter into one model; prints JSON.

The base is loaded as it was published, never in 4 bits, so that the merged weights of a QLoRA are not rounded twice. It must be the
one that the adapter was trained on: its fingerprint is compared. What was written is loaded again, and its logits are compared with
those of base and adapter side by side. Standard output carries the JSON alone.
"""

import argparse
import shutil
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from shlex import quote
from typing import Any

from llmlab.errors import LabError
from llmlab.files import files_below, replace_text, sync
from llmlab.trainer.export import base_files, ollama, provenance
from llmlab.trainer.export.answer import quietly, refuse
from llmlab.trainer.export.serving import ADAPTER_CONFIG
from llmlab.trainer.model.added_tokens import widen
from llmlab.trainer.model.generate import encode

PROMPT = "Say in two sentences what you are for."
SHARD = "5GB"
CLOSE = {"float32": 1e-3, "bfloat16": 0.1, "float16": 0.02}
"""The largest difference of logits, as a share of the largest logit, that rounding to the weights' type explains."""


@dataclass(frozen=True)
class Merged:
    """The folder that was written. `difference` is the largest one between the logits, `logit` the largest of them."""

    folder: str
    size: int
    files: int
    dtype: str
    prompt: str
    difference: float
    logit: float
    same_words: float
    """Share of the prompt's positions at which both would go on with the same token."""
    checked: bool
    """Whether the base model was known to be the adapter's own."""
    own_tokenizer: bool
    """Whether the tokenizer's files are the base's, else transformers wrote them in its own form."""


def merge(model: str, adapter: Path, out: Path, revision: str = "main", prompt: str = PROMPT, shard: str = SHARD) -> Merged:
    """Merge, write, load again and compare.

    Raises:
        LabError: one of the two cannot be loaded, they do not belong together, or the merged model says something else.
    """
    if not (adapter / ADAPTER_CONFIG).is_file():
        raise LabError(f"there is no adapter in {adapter}", "llmlab fetch latest --only adapter")
    if out.exists():
        raise LabError(f"{out} is there already", f"llmlab merge latest --output {quote(f'{out}-2')}")
    checked = belongs(model, adapter, revision)
    tokenizer, tuned = _loaded(model, adapter, revision)
    encoded = encode(tokenizer, prompt)
    expected_logits = _logits(tuned, encoded)
    aside = out.with_name(f".{out.name}.new")
    shutil.rmtree(aside, ignore_errors=True)
    whole = tuned.merge_and_unload(safe_merge=True)
    dtype = str(whole.dtype).removeprefix("torch.")
    whole.save_pretrained(str(aside), max_shard_size=shard)
    base_folder = provenance.folder_of(model, revision)
    base_files.write_config(aside, base_folder)
    base_files.write_generation_config(aside, base_folder, tokenizer)
    own_tokenizer = base_files.write_tokenizer(aside, tokenizer, [base_folder, adapter])
    replace_text(aside / "Modelfile", ollama.modelfile(tokenizer, "."))
    for name in (provenance.FILE, "README.md"):
        if (adapter / name).is_file():
            shutil.copyfile(adapter / name, aside / name)
    del tuned, whole  # the written one is loaded into the same memory
    merged_logits = _logits(_written(aside), encoded)
    difference, largest = float((merged_logits - expected_logits).abs().max()), float(expected_logits.abs().max())
    if difference > CLOSE.get(dtype, 0.1) * largest:
        shutil.rmtree(aside)
        raise LabError(f"the merged model differs by {difference:.3g} in logits of up to {largest:.3g}, so it was not kept")
    files = list(files_below(aside))
    for file in files:
        file.chmod(0o644)
        sync(file)
    aside.replace(out)
    return Merged(
        folder=str(out),
        size=sum((out / file.relative_to(aside)).stat().st_size for file in files),
        files=len(files),
        dtype=dtype,
        prompt=prompt,
        difference=difference,
        logit=largest,
        same_words=float((merged_logits.argmax(-1) == expected_logits.argmax(-1)).float().mean()),
        checked=checked,
        own_tokenizer=own_tokenizer,
    )


def belongs(model: str, adapter: Path, revision: str = "main") -> bool:
    """Whether the base model is known to be the adapter's own; False where either has no fingerprint.

    Raises:
        LabError: it is another model.
    """
    known = provenance.read(adapter)
    folder = provenance.folder_of(model, revision)
    if folder is None and known is not None and known.fingerprint:
        from huggingface_hub import snapshot_download

        try:
            folder = Path(snapshot_download(model, revision=known.commit or revision, ignore_patterns=["*.bin", "*.pth", "*.gguf"]))
        except Exception as error:
            raise refuse(model, adapter, error) from error
    own = provenance.fingerprint(folder) if folder is not None else ""
    if known is None or not known.fingerprint or not own:
        return False
    if own != known.fingerprint:
        raise LabError(
            f"{model} is not the model that the adapter was trained on ({known.base}): its weights have the fingerprint {own[:12]}, "
            f"not {known.fingerprint[:12]}",
            f"llmlab merge {known.run} --base FOLDER",
        )
    return True


def _loaded(model: str, adapter: Path, revision: str) -> tuple[Any, Any]:
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(adapter)
        base = AutoModelForCausalLM.from_pretrained(model, dtype="auto", revision=revision)
        widen(base, tokenizer)
        return tokenizer, PeftModel.from_pretrained(base, str(adapter)).eval()
    except (OSError, ValueError, RuntimeError) as error:
        raise refuse(model, adapter, error) from error


def _written(folder: Path) -> Any:
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(folder, dtype="auto").eval()


def _logits(model: Any, encoded: Any) -> Any:
    """Logits of a prompt's positions in 32 bits; (positions, vocabulary)."""
    import torch

    with torch.inference_mode():
        return model(**encoded).logits[0].float()


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m llmlab.trainer.export.merge", description="base model and adapter as one model")
    parser.add_argument("model", help="the base model: a folder or a Hugging Face name")
    parser.add_argument("adapter", type=Path, help="the adapter folder of a run's output")
    parser.add_argument("out", type=Path, help="the folder to write; must not exist yet")
    parser.add_argument("--revision", default="main", help="of a Hugging Face model")
    parser.add_argument("--shard", default=SHARD, help="largest size of a file")
    options = parser.parse_args(arguments)
    return quietly(lambda: asdict(merge(options.model, options.adapter, options.out, options.revision, shard=options.shard)))


if __name__ == "__main__":
    sys.exit(main())
