"""Writes a training's output: adapter in PEFT's form or whole model, tokenizer, where it comes from, a Modelfile, and a model card.

Everything is written aside, synced and then moved to its place, so that a folder of this name is whole. Metrics are there already.
"""

import json
import shutil
from pathlib import Path
from typing import Any

from llmlab import __version__
from llmlab.contract import ADAPTER, SAMPLES_FILE, WHOLE_MODEL, Spec, WorkFolder
from llmlab.files import files_below, replace_text, sync
from llmlab.recipe import Recipe
from llmlab.trainer.data.load_examples import Data
from llmlab.trainer.device import Say
from llmlab.trainer.export import base_files, ollama, provenance
from llmlab.trainer.export.model_card import best_step, card
from llmlab.trainer.export.provenance import Origin
from llmlab.trainer.model.load import source
from llmlab.trainer.training.evaluate import SAMPLES
from llmlab.trainer.training.metrics_file import Metrics
from llmlab.trainer.training.trainable_state import TrainableState


def write(
    work: WorkFolder, trained: TrainableState, tokenizer: Any, spec: Spec, recipe: Recipe, data: Data, metrics: Metrics, say: Say
) -> Path:
    """Write the adapter or model folder and the card; the folder is returned."""
    output = Path(work.output)
    full = recipe.method == "full"
    place = output / (WHOLE_MODEL if full else ADAPTER)
    aside = output / f".{place.name}.new"
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir(parents=True)
    trained.save(aside, published_type(source(recipe, work), recipe.revision) if full else None)
    base_folder = provenance.folder_of(source(recipe, work), recipe.revision)
    if full:
        base_files.write_config(aside, base_folder)
    taught = base_files.write_generation_config(aside, base_folder, tokenizer)
    if taught:
        say(f"answers end with {' and '.join(taught)}, at which the base model does not stop: {base_files.GENERATION} names it")
    if not base_files.write_tokenizer(aside, tokenizer, [base_folder]):
        say("warning: the tokenizer is in the form of transformers 5, because the base's files do not open as they did for training")
    comes_from = origin_of(work, spec, recipe)
    provenance.write(aside, comes_from)
    base = recipe.lab_model or recipe.model
    modelfile = ollama.modelfile(tokenizer, ".") if full else ollama.modelfile(tokenizer, base, ".", base=base)
    replace_text(aside / "Modelfile", modelfile)
    text = card(spec, recipe, list(data.lines(recipe.max_length)), metrics.rows, comes_from, taught)
    replace_text(aside / "README.md", text)
    for file in files_below(aside):
        file.chmod(0o644)
        sync(file)
    shutil.rmtree(place, ignore_errors=True)
    aside.replace(place)
    if recipe.evaluation.prompts:
        replace_text(output / SAMPLES_FILE, samples(output, best_step(metrics.rows)))
    replace_text(output / "README.md", text, durable=True)
    return place


def samples(output: Path, best: int | None) -> str:
    """Each prompt with what the base model answered before the first step, and the weights that come out after step `best` (or the last).

    "" for an answer that is not recorded here: an attempt on another machine may have sampled it.
    """
    path = output / SAMPLES
    sampled = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.is_file() else []
    steps = {sample["step"] for sample in sampled}
    after = best if best in steps else max(steps, default=0)
    answers = {(sample["step"], sample["prompt"]): sample["text"] for sample in sampled}
    prompts = dict.fromkeys(sample["prompt"] for sample in sampled)
    lines = [{"prompt": prompt, "base": answers.get((0, prompt), ""), "tuned": answers.get((after, prompt), "")} for prompt in prompts]
    return "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)


def published_type(source: str, revision: str) -> Any:
    """The number format of the base model's own files: what was trained in 32 bits goes out as the model came in. None for any."""
    import torch
    from transformers import AutoConfig

    dtype = getattr(AutoConfig.from_pretrained(source, revision=revision), "dtype", None)
    return dtype if isinstance(dtype, torch.dtype) else None


def origin_of(work: WorkFolder, spec: Spec, recipe: Recipe) -> Origin:
    """The base model that this training used, by the fingerprint of its files."""
    folder = provenance.folder_of(source(recipe, work), recipe.revision)
    snapshot = folder is not None and folder.parent.name == "snapshots"  # of Hugging Face's cache, named by the commit
    return Origin(
        base=recipe.model,
        revision="" if recipe.lab_model else recipe.revision,
        commit=folder.name if folder is not None and snapshot else "",
        fingerprint=provenance.fingerprint(folder) if folder else "",
        run=spec.run,
        objective=recipe.objective,
        method=recipe.method,
        llmlab=spec.llmlab_version or __version__,
    )
