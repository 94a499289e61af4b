"""One training, from top to bottom: parse, data, model, train, save."""

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from llmlab import contract, recipe as recipes
from llmlab.contract import ContractError, Spec, WorkFolder
from llmlab.errors import UsageError
from llmlab.recipe import Recipe
from llmlab.trainer import device as machines, failures
from llmlab.trainer.control import Control
from llmlab.trainer.data import load_examples
from llmlab.trainer.data.example_encoder import Encoder
from llmlab.trainer.data.load_examples import Data
from llmlab.trainer.device import Device, Say
from llmlab.trainer.distributed import Processes
from llmlab.trainer.export import output
from llmlab.trainer.failures import Left, SetupFailed
from llmlab.trainer.model.adapter import adapt
from llmlab.trainer.model.load import load_model, load_tokenizer, set_threads, speed_up
from llmlab.trainer.model.untrained_tokens import check_met
from llmlab.trainer.training import checkpoints
from llmlab.trainer.training.metrics_file import Metrics

if TYPE_CHECKING:
    from llmlab.trainer.model.objective import Objective
    from llmlab.trainer.training.training_loop import Loop


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
        # a recipe in a run's spec is no file that a command could name
        raise SetupFailed(error.message, error.hint if contract.hints.parse(error.hint)[0] else "llmlab estimate") from error


def wants_gpus(work: WorkFolder) -> bool:
    """Whether the recipe trains on GPUs; False for a spec that cannot be read, which `parse` reports later."""
    try:
        return parse(work)[1].device != "cpu"
    except SetupFailed:
        return False


def spare_imports(work: WorkFolder) -> None:
    """Skip imports that the recipe does not need, in a process that runs this one training only."""
    with suppress(SetupFailed):  # reported when it is parsed
        machines.spare_bitsandbytes(parse(work)[1], Path(work.model, "config.json"))


def train(work: WorkFolder, spec: Spec, recipe: Recipe, control: Control, processes: Processes, say: Say) -> None:
    """Train to the end, or until a stop is requested.

    Raises:
        Left: a stop was requested; what was trained is saved.
        Failed: one of its kinds.
    """
    from llmlab.trainer.training.async_checkpoint import Saver
    from llmlab.trainer.training.throughput import Speed

    control.phase("loading")
    _quiet()
    if recipe.by_trl and processes.world_size > 1:
        raise SetupFailed(
            f"TRL's trainers train on one GPU here, and this machine has {processes.world_size}", "llmlab launch --instance-type g6.xlarge"
        )
    machines.determine(recipe, say)
    device = machines.choose(recipe, processes.device, say)
    tokenizer = load_tokenizer(recipe, work)

    control.phase("tokenizing")
    examples = tokenize(work, spec, recipe, Encoder(tokenizer), control, processes)
    for line in examples.lines(recipe.max_length):
        say(line)

    control.phase("loading")
    start = processes.broadcast(resume_from(Path(work.checkpoints), say) if processes.is_main else None)
    objective = build(work, recipe, device, tokenizer, examples, start, processes, say)
    metrics = Metrics(Path(work.output), recipe, spec.run, start, writes=processes.is_main)
    loop = _loop(recipe)(
        recipe,
        examples,
        objective,
        tokenizer,
        processes,
        control,
        metrics,
        Saver(Path(work.checkpoints), recipe.keep_checkpoints, say),
        Speed(objective.causal, processes.device, processes.world_size),
        say,
    )
    if start:
        loop.resume(start)
    if processes.is_main:
        control.raise_if_stop_requested()
    with failures.explained(recipe, objective.model, checkpointing=objective.checkpointing):
        loop.run()
    if loop.left:
        raise Left(loop.left)

    control.phase("saving")
    trained = loop.trained()
    if processes.is_main:
        place = output.write(work, trained, tokenizer, spec, recipe, examples, metrics, say)
        say(f"output: {place}")
    metrics.close()
    control.phase("finished")


def tokenize(work: WorkFolder, spec: Spec, recipe: Recipe, encoder: Encoder, control: Control, processes: Processes) -> Data:
    """Tokenise the data in the main process; the others read its cache."""

    def read() -> Data:
        return load_examples.load(Path(work.data), spec.data, encoder, recipe, Path(work.cache), control.raise_if_stop_requested)

    if processes.is_main:
        examples = read()
        processes.barrier()
        return examples
    processes.barrier()
    return read()


def resume_from(folder: Path, say: Say) -> Path | None:
    """The newest whole checkpoint, or None; damaged ones that were passed over are logged."""
    resume_point = checkpoints.find(folder)
    for reason in resume_point.damaged:
        say(f"warning: not resuming from {reason}")
    say(f"resuming: from {resume_point.newest.name}" if resume_point.newest else "resuming: no, there is no checkpoint")
    return resume_point.newest


def build(
    work: WorkFolder,
    recipe: Recipe,
    device: Device,
    tokenizer: object,
    examples: Data,
    start: Path | None,
    processes: Processes,
    say: Say,
) -> "Objective":
    """Build the training objective: base model, adapter, trials of packing and of the chunked head, sharding."""
    from llmlab.trainer.model import fsdp, objective as objectives
    from llmlab.trainer.training import async_checkpoint

    base = load_model(recipe, work, device, tokenizer, start)
    check_met(base, tokenizer, recipe, examples.train, say)
    set_threads(base, device, say)
    adapted = adapt(base, recipe, start, say)
    divided = fsdp.divides(adapted, recipe, processes, say)
    if recipe.method != "qlora" and not divided:
        adapted.to(device.name)
    packed = async_checkpoint.read_state(start).packed if start else None
    if recipe.by_trl:
        objective = objectives.plain(adapted, recipe, device, examples.train, say)
    else:
        objective = objectives.choose(adapted, recipe, device, examples.train, say, before=packed)
    if start and objective.reference is not None:  # the model is the checkpoint's, and was compared with its beginning
        objective.refer_to(load_model(recipe, work, device, tokenizer))
    if divided:
        fsdp.divide(objective, device, processes)
    objective.checkpointing = speed_up(adapted, recipe, device, say)
    return objective


def _loop(recipe: Recipe) -> "type[Loop]":
    """The loop of the recipe's engine: llmlab's own or TRL's."""
    from llmlab.trainer.training.training_loop import Loop

    if not recipe.by_trl:
        return Loop
    from llmlab.trainer.trl.steps import TrlLoop  # which takes seconds to import

    return TrlLoop


def _quiet() -> None:
    """The libraries' own bars and advice stay out of the training log."""
    import transformers

    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
