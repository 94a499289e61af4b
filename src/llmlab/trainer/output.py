"""What comes out: the adapter in PEFT's form with its tokenizer, and a model card. Metrics and TensorBoard are there already."""

import shutil
from importlib.metadata import version
from pathlib import Path
from typing import Any

import yaml

from llmlab.contract import ADAPTER, Spec, WorkFolder
from llmlab.recipe import Recipe
from llmlab.trainer.data import Data
from llmlab.trainer.metrics import Metrics
from llmlab.trainer.storage import files_below, replace_text, sync

SHOWN = 20
"""Files of a data manifest that the card lists."""


def write(work: WorkFolder, trained: Any, tokenizer: Any, spec: Spec, recipe: Recipe, data: Data, metrics: Metrics) -> Path:
    """Write the adapter folder aside and move it to its place, then the card."""
    output = Path(work.output)
    aside = output / f".{ADAPTER}.new"
    shutil.rmtree(aside, ignore_errors=True)
    trained.save(aside)
    tokenizer.save_pretrained(str(aside))
    text = card(spec, recipe, data, metrics)
    replace_text(aside / "README.md", text)
    for file in files_below(aside):
        file.chmod(0o644)
        sync(file)
    place = output / ADAPTER
    shutil.rmtree(place, ignore_errors=True)
    aside.replace(place)
    replace_text(output / "README.md", text, durable=True)
    return place


def card(spec: Spec, recipe: Recipe, data: Data, metrics: Metrics) -> str:
    """The model card, in the form that Hugging Face reads."""
    head: dict[str, Any] = {"library_name": "peft", "pipeline_tag": "text-generation", "tags": ["llmlab", recipe.method]}
    if not recipe.lab_model:
        head["base_model"] = recipe.model
    first, last = (metrics.rows[0], metrics.rows[-1]) if metrics.rows else ({}, {})
    files = [f"| `{file.path}` | {file.size:,} | `{file.sha256}` |" for file in spec.data.files[:SHOWN]]
    more = len(spec.data.files) - SHOWN
    return "\n".join(
        [
            "---",
            yaml.safe_dump(head, sort_keys=False).strip(),
            "---",
            "",
            f"# {recipe.model.removeprefix('lab:')}, tuned on {spec.data.name}",
            "",
            f"An adapter for `{recipe.model}`, trained with llmlab in run `{spec.run}`.",
            "",
            "| | |",
            "|---|---|",
            f"| steps | {last.get('step', 0)} |",
            f"| epochs | {last.get('epoch', 0):.2f} |",
            f"| tokens seen | {last.get('tokens', 0):,} |",
            f"| loss, first step | {first.get('loss', float('nan')):.4f} |",
            f"| loss, last step | {last.get('loss', float('nan')):.4f} |",
            "",
            "## Use",
            "",
            "```python",
            "from peft import PeftModel",
            "from transformers import AutoModelForCausalLM",
            "",
            f'base = AutoModelForCausalLM.from_pretrained("{recipe.lab_model or recipe.model}")  # the base model, or its folder',
            'model = PeftModel.from_pretrained(base, "adapter")',
            "```",
            "",
            "## Data",
            "",
            *data.lines(recipe.max_length),
            "",
            "| file | bytes | SHA-256 |",
            "|---|---|---|",
            *files,
            *([f"| and {more} more | | |"] if more > 0 else []),
            "",
            "## Recipe",
            "",
            "```yaml",
            yaml.safe_dump(recipe.model_dump(mode="json"), sort_keys=False).strip(),
            "```",
            "",
            "## Versions",
            "",
            ", ".join(f"{name} {version(name)}" for name in ("torch", "transformers", "trl", "peft")) + f", llmlab {spec.llmlab_version}",
            "",
        ]
    )
