"""The model card: what was trained, on which data to the byte, how it went, and how to use it."""

from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import yaml

from llmlab.contract import ADAPTER, WHOLE_MODEL, DataFile, Spec
from llmlab.recipe import Recipe
from llmlab.trainer.export import serving
from llmlab.trainer.export.provenance import Origin

SHOWN = 20
"""Files of a data manifest that the card lists."""
POINTS = 12
"""Steps of the curves that the card lists."""
PACKAGES = ("torch", "transformers", "peft", "bitsandbytes", "llmlab")


def card(
    spec: Spec, recipe: Recipe, data: Sequence[str], rows: Sequence[Mapping[str, Any]], origin: Origin, taught: Sequence[str] = ()
) -> str:
    """The card in the form that Hugging Face reads.

    `data` are the counts in words, `rows` the metrics by step, `taught` the tokens that end an answer and do not stop the base model.
    """
    return "\n".join(
        [
            "---",
            yaml.safe_dump(_head(recipe), sort_keys=False).strip(),
            "---",
            "",
            f"# {recipe.model.removeprefix('lab:')}, tuned on {spec.data.name}",
            "",
            f"{_what(recipe)} with llmlab in run `{spec.run}`.",
            "",
            *_ended(rows),
            "## Use",
            "",
            *_use(recipe, taught),
            "",
            "## Data",
            "",
            *(f"- {line.removeprefix('data: ')}" for line in data),
            "",
            *_files(spec.data.files),
            "",
            "## Curves",
            "",
            *_curves(rows),
            "",
            "## Recipe",
            "",
            "```yaml",
            yaml.safe_dump(recipe.shown(), sort_keys=False).strip(),
            "```",
            *_template(recipe),
            "",
            "## Base model",
            "",
            *_base(recipe, origin),
            "",
            "## Versions",
            "",
            ", ".join(_versions(spec)),
            "",
        ]
    )


def _head(recipe: Recipe) -> dict[str, Any]:
    full = recipe.method == "full"
    head: dict[str, Any] = {"library_name": "transformers" if full else "peft", "pipeline_tag": "text-generation"}
    head["tags"] = ["llmlab", recipe.objective, recipe.method]
    if not recipe.lab_model:
        head["base_model"] = recipe.model
    return head


LEARNED = {"dpo": " on preferences", "kto": " on answers labelled good and bad", "grpo": " on rewards"}


def _what(recipe: Recipe) -> str:
    kind = "All weights of" if recipe.method == "full" else "An adapter for"
    return f"{kind} `{recipe.model}`, trained{LEARNED.get(recipe.objective, '')}"


def _ended(rows: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    stepped = [row for row in rows if "loss" in row]  # an evaluation before the first step is a row of its own
    first, last = (stepped[0], stepped[-1]) if stepped else ({}, {})
    evaluated = [row for row in rows if "eval_loss" in row]
    best = best_step(rows)
    facts = [
        ("steps", f"{last.get('step', 0):,}"),
        ("epochs", f"{last.get('epoch', 0):.2f}"),
        ("tokens seen", f"{last.get('tokens', 0):,}"),
        ("loss, first step", f"{first.get('loss', float('nan')):.4f}"),
        ("loss, last step", f"{last.get('loss', float('nan')):.4f}"),
    ]
    if evaluated:
        lowest = next(row["eval_loss"] for row in evaluated if row["step"] == best)
        rewarded = "eval_reward" in evaluated[0]  # whose negative stands for the loss
        what, value = ("reward of held-out prompts", -lowest) if rewarded else ("loss on held-out examples", lowest)
        facts += [(what, f"{value:.4f}, the best, after step {best}, whose weights these are")]
    yield from ("| | |", "|---|---|", *(f"| {name} | {value} |" for name, value in facts), "")


def best_step(rows: Sequence[Mapping[str, Any]]) -> int | None:
    """The step with the lowest loss on held-out examples, the first of equals: its weights come out. None where nothing was held out."""
    evaluated = [row for row in rows if "eval_loss" in row]
    return int(min(evaluated, key=lambda row: row["eval_loss"])["step"]) if evaluated else None


def _use(recipe: Recipe, taught: Sequence[str] = ()) -> Iterator[str]:
    base = recipe.lab_model or recipe.model
    yield "```python"
    if recipe.method == "full":
        yield from ("from transformers import AutoModelForCausalLM", "", f'model = AutoModelForCausalLM.from_pretrained("{WHOLE_MODEL}")')
    else:
        tokenizers = ", AutoTokenizer" if recipe.additional_special_tokens else ""
        yield from ("from peft import PeftModel", f"from transformers import AutoModelForCausalLM{tokenizers}", "")
        yield f'base = AutoModelForCausalLM.from_pretrained("{base}")  # the base model, or its folder'
        if recipe.additional_special_tokens:
            yield f'rows = len(AutoTokenizer.from_pretrained("{ADAPTER}"))  # with the tokens that the training added'
            yield "base.resize_token_embeddings(max(rows, base.get_input_embeddings().num_embeddings))"
        yield f'model = PeftModel.from_pretrained(base, "{ADAPTER}")'
    yield from ("```", "")
    lora = recipe.lora
    adapter = {"r": lora.rank, "use_dora": lora.dora, "modules_to_save": lora.modules_to_save}
    if recipe.method == "full":
        yield f"With vLLM: `{serving.vllm(base, WHOLE_MODEL, None)}`."
    elif line := serving.vllm(base, ADAPTER, adapter, own_stops=bool(taught)):
        yield f"With vLLM: `{line}`."
    else:
        yield f"vLLM loads no adapter with {serving.refused(adapter)}: merge it first, with `llmlab merge`."
    if taught:
        tokens = " and ".join(f"`{token}`" for token in taught)
        yield f"Answers end with {tokens}, at which the base model does not stop; `generation_config.json` says so here, and not there."
    if recipe.method == "qlora":
        yield "It was trained over the base model in 4 bits; it is used, and merged, over the base model as it was published."


def _files(files: Sequence[DataFile]) -> Iterator[str]:
    yield from ("| file | bytes | SHA-256 |", "|---|---|---|")
    for file in files[:SHOWN]:
        yield f"| `{file.path}` | {file.size:,} | `{file.sha256}` |"
    if len(files) > SHOWN:
        yield f"| and {len(files) - SHOWN} more | | |"


def _curves(rows: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """A few steps spread over the training, the first and the last among them; and those with an evaluation, as many."""
    if not rows:
        yield "No step was trained."
        return
    evaluated = [number for number, row in enumerate(rows) if "eval_loss" in row]
    chosen = sorted({*spread(range(len(rows))), *spread(evaluated)})
    cells: tuple[tuple[str, str], ...] = (
        ("loss", ".4f"), ("learning_rate", ".2e"), ("eval_loss", ".4f"), ("eval_perplexity", ".3f"),
    )  # fmt: skip
    names = "| step | loss | learning rate | held-out loss | held-out perplexity |"
    if any("reward" in row for row in rows):
        cells = (("reward", ".4f"), ("reward_std", ".4f"), ("learning_rate", ".2e"), ("eval_reward", ".4f"))
        names = "| step | reward | its deviation | learning rate | held-out reward |"
    yield from (names, "|---|---|---|---|---|")
    for number in chosen:
        row = rows[number]
        yield f"| {row.get('step', '')} | " + " | ".join(format(row[key], form) if key in row else "" for key, form in cells) + " |"


def spread(numbers: Sequence[int], most: int = POINTS) -> list[int]:
    """At most `most` of them, evenly, with both ends."""
    if len(numbers) <= most:
        return list(numbers)
    return [numbers[round(at * (len(numbers) - 1) / (most - 1))] for at in range(most)]


def _template(recipe: Recipe) -> Iterator[str]:
    if template := recipe.chat_template:
        yield from ("", f"The chat template is the recipe's, not the base model's: `{template.file}`, SHA-256 `{template.sha256}`.")


def _base(recipe: Recipe, origin: Origin) -> Iterator[str]:
    yield f"- name: `{recipe.model}`"
    if not recipe.lab_model:
        yield f"- revision: `{recipe.revision}`" + (f", commit `{origin.commit}`" if origin.commit else "")
    yield f"- fingerprint of its weights: `{origin.fingerprint}`" if origin.fingerprint else "- its weights have no fingerprint"


def _versions(spec: Spec) -> Iterator[str]:
    for name in PACKAGES:
        try:
            yield f"{name} {spec.llmlab_version or version(name) if name == 'llmlab' else version(name)}"
        except PackageNotFoundError:
            continue
    yield f"image {spec.image}"
