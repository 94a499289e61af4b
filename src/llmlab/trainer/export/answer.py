"""`python -m llmlab.trainer.export.answer MODEL TUNED PROMPT`: what the base and the tuned model say to one prompt, as JSON.

Greedy, so that the same question gets the same answers. Standard output carries the JSON alone.
"""

import argparse
import json
import sys
import warnings
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from llmlab import footprint
from llmlab.errors import LabError
from llmlab.trainer.export.cpu_limit import LARGEST_ON_CPU, too_large
from llmlab.trainer.export.serving import ADAPTER_CONFIG
from llmlab.trainer.model.added_tokens import widen
from llmlab.trainer.model.generate import encode, generate
from llmlab.trainer.model.stop_tokens import stop_there


@dataclass(frozen=True)
class Answers:
    """One prompt, answered twice."""

    prompt: str
    base: str
    tuned: str


def answer(model: str, tuned: str, prompt: str, most_tokens: int = 128, revision: str = "main") -> Answers:
    """Ask the base model (a folder or a Hugging Face name), then what was trained: an adapter for it, or a whole model.

    Raises:
        LabError: one of the two cannot be loaded, or the base is too large for a CPU.
    """
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    whole = (Path(tuned) / "config.json").is_file()
    if not whole and not (Path(tuned) / ADAPTER_CONFIG).is_file():
        raise LabError(f"there is no adapter in {tuned}", "llmlab fetch latest --only adapter")
    device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        if device == "cpu":
            _small_enough(model, tuned, revision)
        tokenizer = AutoTokenizer.from_pretrained(tuned)
        coded = encode(tokenizer, prompt).to(device)
        base = AutoModelForCausalLM.from_pretrained(model, dtype="auto", revision=revision).to(device).eval()
        widen(base, tokenizer)
        stop_there(base, tokenizer)
        before = generate(base, tokenizer, coded, most_tokens)
        if whole:
            del base  # one of them in memory at a time
            changed = AutoModelForCausalLM.from_pretrained(tuned, dtype="auto").to(device).eval()
            stop_there(changed, tokenizer)
        else:
            changed = PeftModel.from_pretrained(base, tuned).eval()
    except (OSError, ValueError, RuntimeError) as error:
        raise refuse(model, Path(tuned), error) from error
    return Answers(prompt, before, generate(changed, tokenizer, coded, most_tokens))


def _small_enough(model: str, tuned: str, revision: str) -> None:
    from transformers import AutoConfig

    shape = footprint.shape(AutoConfig.from_pretrained(model, revision=revision).to_dict())
    if shape is not None and shape.parameters > LARGEST_ON_CPU:
        raise too_large(model, shape.parameters, tuned)


def refuse(model: str, tuned: Path, error: Exception) -> LabError:
    """The error that base and tuned model cannot be loaded, with the libraries' reason."""
    reason = next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
    return LabError(f"the model {model} with what was trained in {tuned} cannot be loaded: {reason.rstrip('.')}")


def quietly(work: Callable[[], dict[str, Any]]) -> int:
    """Do some work with the libraries silent: its JSON to standard output, or its error to standard error; returns the exit code."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import transformers

        transformers.logging.set_verbosity_error()
        transformers.logging.disable_progress_bar()
        try:
            report = work()
        except LabError as error:
            sys.stderr.write(f"error: {error.message}\n" + (f"hint: {error.hint}\n" if error.hint else ""))
            return int(error.exit_code)
    sys.stdout.write(json.dumps(report, ensure_ascii=False) + "\n")
    return 0


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m llmlab.trainer.export.answer", description="one prompt, answered by base and tuned model"
    )
    parser.add_argument("model", help="the base model: a folder or a Hugging Face name")
    parser.add_argument("tuned", help="the adapter or model folder of a run's output")
    parser.add_argument("prompt")
    parser.add_argument("--most-tokens", type=int, default=128, help="of each answer")
    parser.add_argument("--revision", default="main", help="of a Hugging Face model")
    options = parser.parse_args(arguments)
    return quietly(lambda: asdict(answer(options.model, options.tuned, options.prompt, options.most_tokens, options.revision)))


if __name__ == "__main__":
    sys.exit(main())
