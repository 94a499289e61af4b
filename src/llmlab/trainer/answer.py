"""`python -m llmlab.trainer.answer MODEL ADAPTER PROMPT`: what the base and the tuned model say to one prompt, as JSON.

Greedy, so that the same question gets the same answers. Standard output carries the JSON alone.
"""

import argparse
import json
import sys
import warnings
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from llmlab.errors import LabError


@dataclass(frozen=True)
class Answers:
    """One prompt, answered twice."""

    prompt: str
    base: str
    tuned: str


def answer(model: str, adapter: str, prompt: str, most_tokens: int = 128) -> Answers:
    """Ask the base model (a folder or a Hugging Face name) with its adapter switched off, then on.

    Raises:
        LabError: one of the two cannot be loaded.
    """
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    if not (Path(adapter) / "adapter_config.json").is_file():
        raise LabError(f"there is no adapter in {adapter}", "llmlab fetch latest --only adapter")
    device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        tokenizer = AutoTokenizer.from_pretrained(adapter)
        base = AutoModelForCausalLM.from_pretrained(model, dtype="auto").to(device)
        tuned = PeftModel.from_pretrained(base, adapter).eval()
    except (OSError, ValueError, RuntimeError) as error:
        raise LabError(
            f"the model {model} with the adapter {adapter} cannot be loaded: {str(error).splitlines()[0].rstrip('.')}"
        ) from error
    coded = encode(tokenizer, prompt).to(device)
    with tuned.disable_adapter():
        before = generate(tuned, tokenizer, coded, most_tokens)
    return Answers(prompt, before, generate(tuned, tokenizer, coded, most_tokens))


def encode(tokenizer: Any, prompt: str) -> Any:
    if not tokenizer.chat_template:
        return tokenizer(prompt, return_tensors="pt")
    messages = [{"role": "user", "content": prompt}]
    return tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_tensors="pt", return_dict=True)


def generate(model: Any, tokenizer: Any, coded: Any, most_tokens: int) -> str:
    import torch

    with torch.inference_mode():
        ids = model.generate(**coded, max_new_tokens=most_tokens, do_sample=False, pad_token_id=tokenizer.pad_token_id)
    text: str = tokenizer.decode(ids[0, coded["input_ids"].shape[1] :], skip_special_tokens=True)
    return text.strip()


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m llmlab.trainer.answer", description="one prompt, answered by base and tuned model")
    parser.add_argument("model", help="the base model: a folder or a Hugging Face name")
    parser.add_argument("adapter", help="the adapter folder of a run's output")
    parser.add_argument("prompt")
    parser.add_argument("--most-tokens", type=int, default=128, help="of each answer")
    given = parser.parse_args(arguments)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import transformers

        transformers.logging.set_verbosity_error()
        transformers.logging.disable_progress_bar()
        try:
            answers = answer(given.model, given.adapter, given.prompt, given.most_tokens)
        except LabError as error:
            sys.stderr.write(f"error: {error.message}\n" + (f"hint: {error.hint}\n" if error.hint else ""))
            return int(error.exit_code)
    sys.stdout.write(json.dumps(asdict(answers), ensure_ascii=False) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
