"""Whether a recipe can learn from a dataset, by the dataset's manifest: before an instance is paid for that would find out.

A dataset that no training could begin with is refused; notes tell of examples that are left out, or learned from otherwise than it looks.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from llmlab.chat_template import MODELS_OWN
from llmlab.contract import Manifest
from llmlab.contract.shrinking import LEAST_BATCH
from llmlab.dataset.formats import OBJECTIVES, Kind, objective_of
from llmlab.dataset.lengths import fitting
from llmlab.dataset.report import LABELS, LENGTHS, SKIP_BAD, SPLITS, TEMPLATE
from llmlab.dataset.suffixes import TEST, TRAIN, VALID
from llmlab.errors import DataError, LabError, UsageError, one_line
from llmlab.ops import estimate
from llmlab.ops.hub import COMMIT
from llmlab.recipe import Recipe, load


def check(recipe: Recipe, data: Manifest) -> tuple[str, ...]:
    """Notes on a training of this recipe on this dataset. Datasets of earlier versions, whose manifests say less, pass.

    Raises:
        DataError: none of its examples would be learned from, or the training would end at one of them.
    """
    kinds = _counts(data.facts.get("kinds"))
    check_kinds(recipe, kinds, data.name)
    _labels(data)
    return tuple(filter(None, (_parts(data), _lengths(recipe, data), _warm_up(recipe, data))))


def check_template(recipe: Recipe, data: Manifest, model: Manifest | None) -> str:
    """A note on the model's chat template and the dataset's rows: whether it was tried on them, and how many it refused.

    Args:
        recipe: the recipe, whose revision is a commit where the hub has told it.
        data: the dataset.
        model: the model's manifest, of a model of the lab.

    Raises:
        DataError: the template refuses rows, and nobody has said that they may be left out.
    """
    again = f"llmlab upload data/ --name {data.name}"
    if not any(kind != Kind.TEXT for kind in _counts(data.facts.get("kinds"))):
        return ""
    template_facts = data.facts.get(TEMPLATE)
    if not isinstance(template_facts, dict) or not _is_of(template_facts, recipe, model):
        whose = f"was tried with {_of(template_facts) if isinstance(template_facts, dict) else 'none'}"
        return (
            f"{recipe.whose_template} was not tried on {data.name} ({data.name} {whose}), so rows that it refuses show on the "
            f"machine: {again} with this recipe at hand tries it"
        )
    refused = template_facts.get("refused")
    if type(refused) is not int or refused <= 0:
        return ""
    if data.facts.get(SKIP_BAD):
        return f"left out, because {recipe.whose_template} refuses them: {refused:,} of the rows"
    lines = template_facts.get("refused_lines")
    first = lines[0] if isinstance(lines, list) and lines and isinstance(lines[0], dict) else {}
    where = f" ({one_line(first['at'])}: {one_line(first['reason'])})" if first.keys() >= {"at", "reason"} else ""
    rows = f"{refused:,} {'row' if refused == 1 else 'rows'}"
    raise DataError(f"{recipe.whose_template} refuses {rows} of {data.name}{where}", f"{again} --skip-bad")


def _is_of(template_facts: Mapping[str, Any], recipe: Recipe, model: Manifest | None) -> bool:
    """Whether the template that was tried is the one that the training will have: the recipe's own, or its model's."""
    if template_facts.get("template", "") != (recipe.chat_template.sha256 if recipe.chat_template else ""):
        return False
    if model is not None and not recipe.chat_template:
        own = model.facts.get(TEMPLATE)
        if isinstance(own, dict) and own.get("hash"):
            return bool(own["hash"] == template_facts.get("hash"))
    if template_facts.get("model") != recipe.model:
        return False
    commits = {template_facts.get("revision"), recipe.revision}
    return len(commits) == 1 or not all(isinstance(commit, str) and COMMIT.fullmatch(commit) for commit in commits)


def check_own_template(recipe: Recipe | None) -> None:
    """Check that a recipe's own chat template can be read at all; what it makes of the rows is seen when it is tried on them.

    Raises:
        UsageError: the template is no Jinja.
    """
    if recipe is None or recipe.chat_template is None:
        return
    from jinja2.exceptions import TemplateError  # takes a tenth of a second

    from llmlab.dataset.rendering import sandbox

    try:
        sandbox.compiled(recipe.chat_template.text)
    except (TemplateError, RecursionError, ValueError) as error:
        line = getattr(error, "lineno", None)
        where = f" in line {line}" if line else ""
        raise UsageError(f"{recipe.whose_template} cannot be read{where}: {one_line(error).rstrip('.')}", MODELS_OWN) from error


def _of(template_facts: Mapping[str, Any]) -> str:
    """Whose template was tried."""
    if template_facts.get("template"):
        return "another recipe's template"
    return f"the template of {template_facts['model']}" if template_facts.get("model") else "none"


def check_kinds(recipe: Recipe, kinds: Mapping[str, int], name: str) -> None:
    """Check that the recipe's objective learns from these kinds of examples.

    Raises:
        DataError: it does not, or no objective does.
    """
    every = sum(kinds.values())
    for kind, objective in OBJECTIVES.items():
        count, what = kinds.get(kind, 0), WORDS[kind][0]
        if count and count < every:
            others = " and ".join(other for other in kinds if other != kind)
            raise DataError(
                f"{count:,} of the {every:,} examples of {name} {what} and the others {others}, which no objective learns "
                f"from together: put them into two folders",
                f"llmlab upload data/ --name {name}",
            )
        if count and recipe.objective != objective:
            raise DataError(
                f"all {every:,} examples of {name} {what}, which objective {recipe.objective} does not learn from",
                f"llmlab launch --data {name} {_set(recipe, objective)}",
            )
    alone = {objective: kind for kind, objective in OBJECTIVES.items()}.get(recipe.objective)
    if every and alone and not kinds.get(alone):
        raise DataError(
            f"none of the {every:,} examples of {name} {WORDS[alone][1]}, and objective {recipe.objective} learns from nothing else",
            f"llmlab launch --data {name} {_set(recipe, objective_of(kinds))}",
        )
    if (texts := kinds.get(Kind.TEXT, 0)) and recipe.objective == "grpo":
        raise DataError(
            f"{texts:,} of the {every:,} examples of {name} are text, and objective grpo learns from prompts with answers alone",
            f"llmlab launch --data {name} {_set(recipe, 'sft')}",
        )


def _set(recipe: Recipe, objective: str) -> str:
    """The options that make it another objective's recipe, one that the objective takes."""
    least = LEAST_BATCH.get(objective, 1)
    return f"--set objective={objective}" + (f" --set batch_size={least}" if recipe.batch_size < least else "")


WORDS = {
    Kind.PREFERENCE: ("are preferences (chosen, rejected)", "is a preference (chosen, rejected)"),
    Kind.KTO: ("have a label", "has a label"),
}
"""Of a kind that one objective alone learns from: what all and what none of them are."""


def one_kind(name: str, label: str) -> str:
    """The message why a dataset whose labels all say the same teaches nothing."""
    return f"every label of {name} says that the answer is {label}, and objective kto learns from good and bad ones side by side"


def _labels(data: Manifest) -> None:
    """Check that a dataset with labels has both kinds of them.

    Raises:
        DataError: all labels say the same.
    """
    labels = _counts(data.facts.get(LABELS))
    if len(labels) == 1:
        raise DataError(one_kind(data.name, *labels), f"llmlab upload data/ --name {data.name}")


def recipe_at(path: Path) -> tuple[Recipe | None, str]:
    """The recipe in a file, and why it cannot be read; neither where there is no file."""
    if not path.is_file():
        return None, ""
    try:
        return load(str(path), {}), ""
    except LabError as error:
        return None, str(error)


def unsuited(recipe: Recipe, kinds: Mapping[str, int], name: str) -> DataError | None:
    """As `check_kinds`, but the error is returned instead of raised: another launch may have another recipe."""
    try:
        check_kinds(recipe, kinds, name)
    except DataError as error:
        return error
    return None


def _parts(data: Manifest) -> str:
    """A note on the splits of a dataset (train, valid, test), where its files are named for several.

    Raises:
        DataError: no split is to train on.
    """
    splits = data.facts.get(SPLITS)
    if not isinstance(splits, dict):
        return ""
    counts = _counts({name: part.get("examples") for name, part in splits.items() if isinstance(part, dict)})
    if not counts.get(TRAIN):
        names = " and ".join(name for name in (VALID, TEST) if counts.get(name))
        raise DataError(
            f"all examples of {data.name} stand in files of the part {names}, and none is to train on", "llmlab validate --forms"
        )
    held = f"{counts[VALID]:,} examples of files named valid are held out" if counts.get(VALID) else ""
    kept = f"{counts[TEST]:,} of files named test are not trained on" if counts.get(TEST) else ""
    return " and ".join(filter(None, (held, kept)))


def _warm_up(recipe: Recipe, data: Manifest) -> str:
    """A note on a warm-up that does not end before the training does."""
    steps = estimate.steps(recipe, data)
    if not steps or recipe.warmup_steps is None or recipe.warmup_steps < steps:
        return ""
    return f"the learning rate never reaches its peak: warmup_steps is {recipe.warmup_steps:,}, and the training has about {steps:,} steps"


def _lengths(recipe: Recipe, data: Manifest) -> str:
    """A note on how many examples fit into the recipe's `max_length`, where not all do.

    Lengths are of what a chat template made of the rows, where one was tried; else of the contents alone, so that what was measured to be
    too long is too long with any template.

    Raises:
        DataError: no example fits, measured with a tokenizer.
    """
    lengths = _counts(data.facts.get(LENGTHS))
    every = sum(lengths.values())
    fit = fitting(lengths, recipe.max_length)
    if not every or fit == every:
        return ""
    measured = bool(data.facts.get("tokenizer"))
    longest = data.facts.get("longest_tokens")
    if not fit and measured and recipe.too_long == "drop" and isinstance(longest, int):
        raise DataError(
            f"every example of {data.name} is longer than max_length {recipe.max_length:,} (the longest has {longest:,} tokens)",
            f"llmlab launch --data {data.name} --set max_length={longest + longest // 4}",
        )
    over = every - fit
    what = "would be left out" if recipe.too_long == "drop" else "would be split"
    how = "" if measured else ", by an estimate of 4 bytes a token"
    return f"{fit:,} of {every:,} examples fit into max_length {recipe.max_length:,}; {over:,} {what}{how}"


def _counts(value: Any) -> dict[str, int]:
    """The counts above 0 in a document's mapping; anything else in it is left out."""
    return {key: count for key, count in value.items() if type(count) is int and count > 0} if isinstance(value, dict) else {}
