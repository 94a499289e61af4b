"""One training, from top to bottom: parse, data, model, train, save."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmlab import contract, recipe as recipes
from llmlab.contract import ContractError, Spec, WorkFolder
from llmlab.errors import UsageError
from llmlab.recipe import Recipe
from llmlab.trainer import checkpoints, data, model, output
from llmlab.trainer.control import Control
from llmlab.trainer.endings import Left, SetupFailed
from llmlab.trainer.metrics import Metrics
from llmlab.trainer.model import Say
from llmlab.trainer.tokens import Encoder

if TYPE_CHECKING:
    from llmlab.trainer.loop import Loop


def parse(work: WorkFolder) -> tuple[Spec, Recipe]:
    """The run's spec and its recipe.

    Raises:
        SetupFailed: one of them is missing or not what it should be.
    """
    try:
        spec = contract.load(Spec, Path(work.spec).read_bytes())
    except (OSError, ContractError) as error:
        raise SetupFailed(f"the run's spec.json cannot be used: {error}") from error
    try:
        return spec, recipes.check(spec.recipe, source="the run's recipe")
    except UsageError as error:
        raise SetupFailed(error.message, error.hint) from error


def train(work: WorkFolder, spec: Spec, recipe: Recipe, control: Control, say: Say) -> None:
    """Train to the end, or until somebody asks to leave.

    Raises:
        Left: somebody asked; what was trained is saved.
        Failed: one of its kinds.
    """
    control.phase("loading")
    model.prepare(recipe)
    _quiet()
    machine = model.choose(recipe, say)
    tokenizer = model.load_tokenizer(recipe, work)
    encoder = Encoder(tokenizer)

    control.phase("tokenizing")
    examples = data.load(Path(work.data), spec.data, encoder, recipe.max_length, control.leave_if_asked)
    for line in examples.lines(recipe.max_length):
        say(line)

    control.phase("loading")
    base = model.load_model(recipe, work, machine, tokenizer)
    model.share(base, machine, say)
    start = resume_from(Path(work.checkpoints), say)
    metrics = Metrics(Path(work.output), start)
    loop = _loop(recipe, machine, Path(work.checkpoints), control, metrics, say, base, tokenizer, examples)
    control.leave_if_asked()

    loop.train(resume_from_checkpoint=str(start) if start else None)
    if loop.watch.left:
        raise Left(loop.watch.left)

    control.phase("saving")
    adapter = output.write(work, loop.model, tokenizer, spec, recipe, examples, metrics)
    metrics.close()
    say(f"adapter: {adapter}")
    control.phase("finished")


def resume_from(folder: Path, say: Say) -> Path | None:
    """The newest whole checkpoint; what was passed over is said."""
    found = checkpoints.find(folder)
    for reason in found.damaged:
        say(f"warning: not resuming from {reason}")
    say(f"resuming: from {found.newest.name}" if found.newest else "resuming: no, there is no checkpoint")
    return found.newest


def _loop(
    recipe: Recipe,
    machine: model.Machine,
    folder: Path,
    control: Control,
    metrics: Metrics,
    say: Say,
    base: Any,
    tokenizer: Any,
    examples: data.Data,
) -> "Loop":
    """TRL, with the adapter put on the base model."""
    from llmlab.trainer.loop import Loop, Watch, rows

    watch = Watch(recipe, control, metrics, say)
    try:
        loop = Loop(
            recipe,
            machine,
            folder,
            watch,
            model=base,
            processing_class=tokenizer,
            train_dataset=rows(examples),
            peft_config=model.adapter(recipe),
        )
    except ValueError as error:
        raise SetupFailed(
            f"the recipe does not fit the model: {str(error).splitlines()[0].rstrip('.')}", "llmlab launch --set lora.targets=all-linear"
        ) from error
    trainable, every = loop.model.get_nb_trainable_parameters()
    say(f"adapter: rank {recipe.lora.rank}, {trainable:,} of {every:,} parameters trained")
    return loop


def _quiet() -> None:
    """The libraries' own bars and advice stay out of the training log."""
    os.environ.setdefault("TRL_EXPERIMENTAL_SILENCE", "1")
    import datasets
    import transformers

    datasets.disable_progress_bars()
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
