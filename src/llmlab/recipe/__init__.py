"""The recipe of a training: one pydantic model that the command line, the agent and the trainer all read.

A recipe is a YAML file of the fields below; `--set lora.rank=8` overrides one. Nothing is guessed: an unknown field is refused
with the nearest one that exists, a wrong value with what it must be.
"""

import difflib
import json
import reprlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from shlex import quote
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator
from pydantic_core import ErrorDetails

from llmlab import chat_template as chat_templates
from llmlab.chat_template import ChatTemplate
from llmlab.contract.shrinking import LEAST_BATCH
from llmlab.errors import UsageError, one_line
from llmlab.recipe.adapters import check_adapter
from llmlab.recipe.engines import TRL_ALONE, fits_grpo, fits_trl
from llmlab.recipe.sections import SECTIONS, Dpo, Evaluation, Grpo, Kto, Lora
from llmlab.rewards import files as reward_files

LAB_MODEL = chat_templates.LAB
"""`model: lab:NAME` is a model folder uploaded with `llmlab upload --model NAME`."""
DEFAULT = "lora-1b"
"""The shipped recipe of a launch that names none."""
MOST_BYTES = 256 << 10
"""Bytes of the largest recipe file; the longest that ships has 2 KiB."""
LONGEST_TOKEN = 128
"""Characters of a token that a recipe adds."""
SHORT = reprlib.Repr()
SHORT.maxlevel = 2
"""How a wrong value is shown: a few lines of YAML may stand for gigabytes."""


class Recipe(BaseModel):
    """One training. Batches are counted in examples, lengths in tokens."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    objective: Literal["sft", "dpo", "kto", "grpo"] = Field(
        "sft",
        description=(
            "sft: say what the assistant says; dpo: prefer chosen to rejected answers; kto: good answers to bad ones, by labels; "
            "grpo: earn rewards that are checked"
        ),
    )
    engine: Literal["own", "trl"] = Field(
        "own", description="whose training loop: llmlab's own, or TRL's trainer, which kto and grpo always are"
    )
    method: Literal["lora", "qlora", "full"] = Field(
        "lora", description="lora; qlora: the same over a base model held in 4 bits; full: every weight"
    )
    model: str = Field(description="Hugging Face name, or lab:NAME for a model uploaded with llmlab upload --model NAME", min_length=1)
    revision: str = Field("main", description="branch, tag or commit of a Hugging Face model", min_length=1)
    chat_template: ChatTemplate | None = Field(
        None,
        description="instead of the model's own: a file with one (Jinja) beside the recipe, or lab:NAME for an uploaded model's",
    )
    additional_special_tokens: tuple[str, ...] = Field(
        (),
        max_length=1000,
        description="tokens beside the tokenizer's own, such as [TOOL], each read and said as one; new ones need lora.modules_to_save",
    )
    max_length: int = Field(2048, ge=8, le=1_048_576, description="tokens of the longest example")
    too_long: Literal["drop", "split"] = Field(
        "drop", description="examples over max_length are left out, or split between turns; counted either way"
    )
    batch_size: int = Field(1, ge=1, le=4096, description="examples of max_length in memory at once, on each GPU")
    accumulate: int = Field(8, ge=1, le=65_536, description="batches that make one optimizer step, over all GPUs together")
    packing: Literal["auto", True, False] = Field(
        "auto", description="put examples behind each other instead of padding them; auto: where it is exact for the model"
    )
    epochs: float = Field(3, gt=0, le=10_000, description="times through the data")
    max_steps: int | None = Field(None, ge=1, description="optimizer steps, instead of epochs")
    learning_rate: float = Field(2e-4, gt=0, le=1, description="peak learning rate")
    schedule: Literal["cosine", "linear", "constant"] = Field("cosine", description="how the learning rate goes on after the warm-up")
    warmup: float = Field(0.03, ge=0, lt=1, description="share of the steps in which the learning rate rises from 0")
    warmup_steps: int | None = Field(None, ge=0, description="steps in which it rises, instead of warmup")
    optimizer: Literal["adamw", "adamw_8bit", "paged_adamw_8bit", "paged_adamw_32bit"] = Field(
        "adamw",
        description="adamw: moments in 32 bits; adamw_8bit: in 8 (bitsandbytes), a quarter of their memory; "
        "paged: moments leave the GPU's memory when it is full",
    )
    adam_beta1: float = Field(0.9, ge=0, lt=1, description="AdamW's share of the mean of gradients that a step keeps")
    adam_beta2: float = Field(0.999, ge=0, lt=1, description="AdamW's share of the mean of their squares that a step keeps")
    adam_epsilon: float = Field(1e-8, gt=0, le=1, description="AdamW's term against division by zero")
    weight_decay: float = Field(0.0, ge=0, le=1, description="AdamW's weight decay")
    max_grad_norm: float = Field(1.0, gt=0, description="gradients are scaled down to this norm")
    seed: int = Field(0, ge=0, lt=2**32, description="of shuffling, initial adapter weights and dropout")
    device: Literal["auto", "cpu"] = Field(
        "auto", description="auto: every GPU of the machine, and none may be missing; cpu: the processor, whatever GPUs there are"
    )
    precision: Literal["auto", "bf16", "fp16", "fp32"] = Field(
        "auto", description="auto: bf16 where the GPU has it, else fp16; fp32 on a CPU"
    )
    gradient_checkpointing: Literal["auto", True, False] = Field(
        "auto", description="recompute activations to save memory; auto: where they would not fit"
    )
    deterministic: bool = Field(
        False, description="the same bits again on GPUs of the same type and number: slower, and a model without such kernels is refused"
    )
    compile: Literal["auto", True, False] = Field("auto", description="torch.compile the model's layers; auto: off until measured to win")
    parallel: Literal["auto", "ddp", "fsdp"] = Field("auto", description="several GPUs: a copy on each (ddp), or one over all (fsdp)")
    on_bad_loss: Literal["stop", "skip"] = Field("stop", description="a loss that is no number or jumps: stop, or leave that step out")
    on_out_of_memory: Literal["halve", "stop"] = Field(
        "halve", description="memory runs out: once more with half the batch and twice the accumulation, or stop"
    )
    spike: float = Field(4.0, gt=0, description="rise over the median of the last 50 losses that counts as a jump")
    lora: Lora = Field(default_factory=Lora, description="the adapter")
    dpo: Dpo = Field(default_factory=Dpo, description="the preference objective")
    kto: Kto = Field(default_factory=Kto, description="the objective of labels")
    grpo: Grpo = Field(default_factory=Grpo, description="the objective of rewards")
    evaluation: Evaluation = Field(default_factory=Evaluation, description="held-out examples and prompts")
    track: tuple[Literal["mlflow", "wandb"], ...] = Field((), description="trackers beside TensorBoard, written offline into the output")
    save_minutes: float = Field(10, gt=0, le=1440, description="most minutes between checkpoints")
    save_steps: int | None = Field(None, ge=1, description="steps between checkpoints, besides save_minutes")
    keep_checkpoints: int = Field(3, ge=2, le=100, description="newest checkpoints kept")

    @field_validator("model")
    @classmethod
    def _named(cls, model: str) -> str:
        if model == LAB_MODEL or model != model.strip():
            raise ValueError("must be a Hugging Face name such as Qwen/Qwen2.5-1.5B-Instruct, or lab:NAME")
        return model

    @field_validator("additional_special_tokens")
    @classmethod
    def _tokens(cls, tokens: tuple[str, ...]) -> tuple[str, ...]:
        bad = [token for token in tokens if token != token.strip() or not 0 < len(token) <= LONGEST_TOKEN]
        if bad:
            raise ValueError(f"must be tokens of 1 to {LONGEST_TOKEN} characters without white space around them, not {bad[0][:40]!r}")
        if len(set(tokens)) < len(tokens):
            raise ValueError("must name each token once")
        return tokens

    @field_validator("chat_template", mode="before")
    @classmethod
    def _filed(cls, template: object) -> object:
        return ChatTemplate.named(template)

    @property
    def lab_model(self) -> str | None:
        """The name of the uploaded model, or None for one of Hugging Face's."""
        return self.model.removeprefix(LAB_MODEL) if self.model.startswith(LAB_MODEL) else None

    @property
    def by_trl(self) -> bool:
        """Whether TRL's trainer does the steps."""
        return self.engine == "trl" or self.objective in TRL_ALONE

    @property
    def least_batch(self) -> int:
        """The smallest `batch_size` that the objective can take."""
        return LEAST_BATCH.get(self.objective, 1)

    @property
    def step_examples(self) -> int:
        """Examples of one optimizer step, over all GPUs together: the number of GPUs changes the speed and not the training.

        With objective grpo a batch's items are completions, and an example is a prompt with all of its own.
        """
        return max(1, self.batch_size * self.accumulate // self.completions)

    @property
    def completions(self) -> int:
        """Sequences that a step makes of one example: its completions with objective grpo, else the example itself."""
        return self.grpo.num_generations if self.objective == "grpo" else 1

    @property
    def whole_copies(self) -> str:
        """The setting of this recipe because of which each GPU has a whole copy; "" when everything can be divided over GPUs.

        FSDP2 divides tensors along their first dimension, and bitsandbytes' 4-bit weights and 8-bit moments are blocks of a flat one.
        """
        return "method qlora" if self.method == "qlora" else f"optimizer {self.optimizer}" if self.optimizer != "adamw" else ""

    @property
    def whose_template(self) -> str:
        """The chat template of this training, in words."""
        return f"the chat template {self.chat_template.file}" if self.chat_template else f"the chat template of {self.model}"

    def shown(self) -> dict[str, Any]:
        """The fields as a person reads and writes them: of a file its name, not its text."""
        values = self.model_dump(mode="json")
        del values["warmup" if self.warmup_steps is not None else "warmup_steps"]
        values["grpo"]["rewards"] = [reward.shown() for reward in self.grpo.rewards]
        return values | ({"chat_template": self.chat_template.file} if self.chat_template else {})


INSTEAD = {"warmup": "warmup_steps", "warmup_steps": "warmup"}
"""Fields that exclude each other: a recipe has one of them, and a `--set` of one replaces the other."""


def shipped() -> dict[str, Path]:
    """The recipes that come with llmlab: name to file, sorted."""
    here = Path(__file__).parent.parent
    folders = (here / "recipes", here.parent.parent / "recipes")  # in the wheel; in a clone
    folder = next((candidate for candidate in folders if candidate.is_dir()), folders[0])
    return {file.stem: file for file in sorted(folder.glob("*.yaml"))}


def about(name: str) -> str:
    """What a shipped recipe is for: the first sentence of its comment."""
    first = shipped()[name].read_text(encoding="utf-8").splitlines()[0].removeprefix("# ")
    return first.partition(". ")[0].rstrip(".")


def load(path: str | Path | None = None, overrides: Mapping[str, str] | None = None) -> Recipe:
    """The recipe of a file (or of a shipped recipe's name; `DEFAULT` when None), with `overrides` such as {"lora.rank": "8"}.

    Raises:
        UsageError: no such file, not YAML, an unknown field, or a wrong value.
    """
    file = find(path)
    try:
        with file.open("rb") as stream:
            text = stream.read(MOST_BYTES + 1).decode()
    except (UnicodeDecodeError, OSError) as error:
        raise UsageError(f"{file} cannot be read: {one_line(error)}", "llmlab init") from error
    if len(text.encode()) > MOST_BYTES:
        raise UsageError(f"{file} is larger than {MOST_BYTES >> 10} KiB, so it is no recipe", "llmlab init")
    try:
        values = _yaml(text)
    except ValueError as error:
        raise UsageError(f"{file} is not YAML: {one_line(error)}", "llmlab init") from error
    if values is None:
        values = {}
    if not isinstance(values, dict) or not all(isinstance(key, str) for key in values):
        raise UsageError(f"{file} is not a recipe: it must be a list of `field: value` lines", "llmlab init")
    for name in (overrides or {}).keys() & INSTEAD.keys():
        if INSTEAD[name] not in (overrides or {}):
            values.pop(INSTEAD[name], None)
    for name, text in (overrides or {}).items():
        _override(values, name, text)
    if isinstance(named := values.get("chat_template"), str):
        values["chat_template"] = _template(file, named, typed="chat_template" in (overrides or {}))
    _rewards(file, values, typed="grpo.rewards" in (overrides or {}))
    recipe = check(values, source=str(file), overrides=overrides)
    if values.keys() >= INSTEAD.keys() and recipe.warmup_steps is not None:
        raise UsageError(
            f"the warm-up stands there twice, as warmup {recipe.warmup:g} and as warmup_steps {recipe.warmup_steps} ({file})",
            f"llmlab launch --set warmup_steps={recipe.warmup_steps}",
            without=["warmup"],
        )
    return recipe


def _template(file: Path, named: str, *, typed: bool) -> ChatTemplate | dict[str, str]:
    """The template that a recipe's file names, or that was typed."""
    if named.startswith(LAB_MODEL):
        return {"file": named}
    return chat_templates.read(named, Path(named)) if typed else chat_templates.beside(file, named)


def _rewards(file: Path, values: dict[str, Any], *, typed: bool) -> None:
    """Put the text of each reward's file where its name stands."""
    section = values.get("grpo")
    chosen = section.get("rewards") if isinstance(section, dict) else None
    for reward in chosen if isinstance(chosen, list) else ():
        if isinstance(reward, dict) and isinstance(named := reward.get("file"), str):
            reward["file"] = reward_files.read(named, Path(named)) if typed else reward_files.beside(file, named)


def find(path: str | Path | None) -> Path:
    """The file of a recipe: a path, or the name of a shipped one; `DEFAULT` when None.

    Raises:
        UsageError: there is none.
    """
    names = shipped()
    if path is None:
        return names[DEFAULT]
    file = Path(path)
    if file.is_file():
        return file
    if str(path) in names:
        return names[str(path)]
    near = difflib.get_close_matches(str(path), names, n=1)
    raise UsageError(
        f"there is no recipe {path}; llmlab ships {', '.join(names)}", f"llmlab launch --recipe {near[0] if near else DEFAULT}"
    )


def check(values: Mapping[str, Any], source: str = "the recipe", overrides: Mapping[str, str] | None = None) -> Recipe:
    """The recipe of plain values, as they stand in a file or in `Spec.recipe`.

    Raises:
        UsageError: an unknown field or a wrong value, the first of them; or fields that the adapter or the engine cannot do together.
    """
    try:
        recipe = Recipe.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(str(part) for part in first["loc"] if part in _parts())
        override = next((dotted for dotted in overrides or {} if dotted == name or dotted.startswith(name + ".")), None) if name else None
        where = "--set" if override or (first["type"] == "extra_forbidden" and _dotted(first) in (overrides or {})) else source
        raise UsageError(
            one_line(_sentence(first, name, where)), _hint(first, name, where, overrides or {}), without=[override or _dotted(first)]
        ) from error
    check_adapter(recipe, source)
    if recipe.by_trl:
        fits_trl(recipe, source)
    if recipe.objective == "grpo":
        fits_grpo(recipe, source)
    return recipe


def fields() -> Iterator[tuple[str, str, str]]:
    """Every field: its dotted name, its default as text ("" where there is none), and its description."""
    for name, field in Recipe.model_fields.items():
        if name in SECTIONS:
            for inner, inner_field in SECTIONS[name].model_fields.items():
                yield f"{name}.{inner}", _text(inner_field.default), inner_field.description or ""
        else:
            yield name, "" if field.is_required() else _text(field.default), field.description or ""


def _override(values: dict[str, Any], name: str, text: str) -> None:
    """Put one `--set` into the values. The text is YAML, so that lists and numbers can be written."""
    *path, last = name.split(".")
    for part in path:
        values = values.setdefault(part, {})
        if not isinstance(values, dict):
            raise UsageError(
                one_line(f"{part} has no fields, so {name} cannot be set"), f"llmlab launch --set {quote(f'{part}={text}')}", without=[name]
            )
    try:
        values[last] = _yaml(text)
    except ValueError as error:
        quoted = quote(f"{name}={json.dumps(text)}")
        raise UsageError(one_line(f"{name}: {text} is not a value: {error}"), f"llmlab launch --set {quoted}") from error


def _sentence(error: ErrorDetails, name: str, where: str) -> str:
    if error["type"] == "extra_forbidden":
        unknown = _dotted(error)
        near = _nearest(unknown)
        return f"there is no field {unknown} in a recipe ({where}){f'; the nearest is {near}' if near else ''}"
    if error["type"] == "missing":
        return f"the recipe names no {name} ({where})"
    message = str(error["msg"]).removeprefix("Value error, ").removeprefix("Input ").replace("should be", "must be")
    return f"{name}: {message[:1].lower()}{message[1:]}, not {_text(error['input']) or 'nothing'} ({where})"


def _hint(error: ErrorDetails, name: str, where: str, overrides: Mapping[str, str]) -> str:
    """The nearest field, or the field's default; of a setting without either the line as typed goes on without it."""
    example = "llmlab launch" if where == "--set" else f"llmlab estimate --recipe {quote(where)}"
    if error["type"] == "extra_forbidden":
        unknown = _dotted(error)
        near = _nearest(unknown)
        if near and unknown in overrides:
            return f"llmlab launch --set {quote(f'{near}={overrides[unknown]}')}"
        return example
    default = next((text for known, text, _ in fields() if known == name and text), "Qwen/Qwen2.5-1.5B-Instruct" if name == "model" else "")
    return f"llmlab launch --set {quote(f'{name}={default}')}" if default else example


def _nearest(unknown: str) -> str:
    """The known field closest to one that does not exist, by its last word too: `rank` is `lora.rank`."""
    known = [name for name, _, _ in fields()]
    by_last = {name.rsplit(".", 1)[-1]: name for name in known}
    word = unknown.rsplit(".", 1)[-1]
    if word in by_last:
        return by_last[word]
    near = difflib.get_close_matches(unknown, known, n=1) or difflib.get_close_matches(word, by_last, n=1)
    return by_last.get(near[0], near[0]) if near else ""


def _dotted(error: ErrorDetails) -> str:
    return ".".join(str(part) for part in error["loc"])


def _parts() -> set[str]:
    return {*Recipe.model_fields, *(name for section in SECTIONS.values() for name in section.model_fields)}


def _text(value: object) -> str:
    if value is None or value == ():
        return ""
    return str(value).lower() if isinstance(value, bool) else value if isinstance(value, str) else SHORT.repr(value)


def _yaml(text: str) -> Any:
    """YAML's plain values.

    Raises:
        ValueError: it is none. PyYAML itself lets escape what Python says of a date, a number or a depth that cannot be.
    """
    try:
        return yaml.safe_load(text)
    except (yaml.YAMLError, LookupError, AttributeError, TypeError, OverflowError, RecursionError) as error:
        raise ValueError(one_line(error)) from error
