"""The screens of validate, upload and fetch: a dataset's report, template and reward trials, uploaded and fetched files."""

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from llmlab.commands.context import CliContext
from llmlab.commands.formatting import size
from llmlab.ui import table

if TYPE_CHECKING:
    from rich.console import RenderableType

    from llmlab.dataset.report import DatasetReport
    from llmlab.dataset.trial import Trial
    from llmlab.ops.fetch import Fetched
    from llmlab.ops.reward_trial import RewardsTried
    from llmlab.ops.upload import Uploaded

SHOWN_PROBLEMS = 20
SHOWN_PLACES = 3
SHOWN_NAMES = 8


def forms_view(forms: list[dict[str, Any]]) -> Iterator["RenderableType"]:
    """The forms of rows, each with its keys, what it becomes, and examples."""
    for form in forms:
        yield f"{form['form']}: {form['keys']}"
        yield f"  {form['becomes']}"
        for example in form["examples"]:
            yield f"  {json.dumps(example, ensure_ascii=False)}"


def document_of(trial: "Trial | None", rewards: "RewardsTried | None" = None) -> dict[str, Any]:
    """The trials of a chat template and of rewards, as printed in JSON."""
    return {"template": trial, "rewards": rewards}


def refused_words(trial: "Trial") -> str:
    """How many rows the chat template refuses, in words."""
    of = f"the chat template of {trial.model}" if trial.model else "the chat template"
    whose = "the recipe's chat template" if trial.template else of
    return f"{trial.refused:,} {'row is' if trial.refused == 1 else 'rows are'} refused by {whose}"


def report_view(
    cli: CliContext, report: "DatasetReport", trial: "Trial | None" = None, rewards: "RewardsTried | None" = None
) -> Iterator["RenderableType"]:
    """The report of a dataset: its files, facts, bad lines, and rows that the template refuses."""
    yield table(
        ("file", "size", "examples", "bad", "format"),
        [
            (file.name, size(file.size), f"{file.examples:,}", f"{file.bad:,}" if file.bad else "", ", ".join(file.formats))
            for file in report.files
        ],
        right=("size", "examples", "bad"),
    )
    yield ""
    if report.examples or report.skipped:
        more = [*(_template_facts(trial) if trial else ()), *(_reward_facts(rewards) if rewards else ())]
        facts = table(("", ""), [*facts_of(report, trial), *more])
        facts.show_header = False  # type: ignore[union-attr]
        yield facts
    limit = None if cli.ui.verbosity else SHOWN_PROBLEMS
    if report.problems:
        yield ""
    for problem in report.problems[:limit]:
        yield f"{problem.place}: {problem.reason}"
    unseen = report.bad - len(report.problems[:limit])
    if unseen:
        yield f"and {unseen:,} more bad lines" + ("" if cli.ui.verbosity else ", shown with -v")
    if trial and trial.refused:
        yield ""
        for problem in trial.refusals[:limit]:
            yield f"{problem.place}: {problem.reason}"
        if unseen := trial.refused - len(trial.refusals[:limit]):
            yield f"and {unseen:,} more that the template refuses" + ("" if cli.ui.verbosity else ", shown with -v")


def _template_facts(trial: "Trial") -> Iterator[tuple[str, str]]:
    """Facts about the chat template tried on the rows."""
    whose = "the recipe's, " if trial.template else f"of {trial.model}, " if trial.model else ""
    refused = f", {trial.refused:,} refused" if trial.refused else ""
    yield "template", f"{whose}tried on every row{refused}"
    if trial.several:
        yield (
            "sequences",
            f"{trial.sequences:,}: of {trial.several:,} conversations each answer is one, since the template shows earlier turns otherwise",
        )
    for count, what in ((trial.tools_ignored, "tools"), (trial.thoughts_ignored, "thoughts")):
        if count:
            yield f"{what} lost", f"{count:,} examples have {what}, which the template does not show to the model"


def _reward_facts(rewards: "RewardsTried") -> Iterator[tuple[str, str]]:
    """Each reward's values for the rows' answers and for an empty completion."""
    for trial in rewards.rewards:
        rows = f"the first {trial.rows:,} rows" if rewards.more else f"{trial.rows:,} {'row' if trial.rows == 1 else 'rows'}"
        words = f"{trial.reward}: mean {trial.mean:.3g} for the answers of {rows} ({trial.lowest:.3g} to {trial.highest:.3g})"
        words += f", {trial.empty_mean:.3g} for an empty completion"
        if trial.alike:
            words += f"; {trial.alike:,} {'row gets' if trial.alike == 1 else 'rows get'} the same for both"
        yield "reward", words
    if rewards.left_out:
        yield "no reward", f"{rewards.left_out:,} {'row has' if rewards.left_out == 1 else 'rows have'} no prompt with an answer"


def facts_of(report: "DatasetReport", trial: "Trial | None" = None) -> Iterator[tuple[str, str]]:
    """The facts of a dataset's report, as names and values."""
    tools = f", {report.with_tools:,} with tools" if report.with_tools else ""
    forms = ": " + ", ".join(f"{count:,} {form}" for form, count in report.formats.items()) if len(report.formats) > 1 else ""
    yield "examples", f"{report.examples:,}{forms}{tools}"
    if report.labels:
        yield "labels", " and ".join(f"{count:,} {label}" for label, count in report.labels.items())
    how = f"counted with {report.tokenizer}" if report.tokenizer else "estimated at 4 bytes a token"
    how += ", template and tools included" if trial else ""
    yield "tokens", f"{report.tokens:,} ({how})"
    yield "trained", f"{report.trained_tokens:,} of them carry loss ({report.trained_share:.0%})"
    yield (
        "length",
        f"median {report.median_tokens:,}, 95 % up to {report.p95_tokens:,}, longest {report.longest_tokens:,} ({report.longest})",
    )
    if report.max_length is not None:
        every = trial.examples if trial else report.examples
        yield "too long", _places(report.over_length, report.over_places, f"of {every:,} over {report.max_length:,} tokens")
    if report.duplicates:
        yield "duplicates", _places(report.duplicates, report.duplicate_places)
    if report.empty_answers:
        yield "empty answers", _places(report.empty_answers, report.empty_places)
    if report.cut:
        yield "cut off", f"{report.cut:,} answers end at the limit of their length, and are learned without an end of turn"
    from llmlab.dataset.reasons import REPEATED

    for what, count in report.skipped.items():
        more = f", {report.answers_added:,} of their answers carry loss where they are held" if what == REPEATED else ""
        places = _skipped_places(report, what)
        yield "left out", f"{_places(count, places, what)}{more}"
    if report.unread:
        names = [f"{name} ({rows:,})" for name, rows in report.unread.items()]
        more = ", …" if len(names) > SHOWN_NAMES else ""
        yield "not read", f"keys that llmlab does not know, and their rows: {', '.join(names[:SHOWN_NAMES])}{more}"
    if report.blank:
        yield "blank lines", f"{report.blank:,}, passed over"
    mixed_files = [file.name for file in report.files if len(file.formats) > 1]
    if mixed_files:
        yield "mixed", f"more than one format in {', '.join(mixed_files[:SHOWN_PLACES])}"
    for split, words in (("valid", "held out for evaluation, and not trained on"), ("test", "never trained on")):
        if report.splits.get(split):
            names = [file.name for file in report.files if file.split == split]
            yield (
                split,
                f"{report.splits[split]:,} examples {words}: {', '.join(names[:SHOWN_PLACES])}{', …' if len(names) > SHOWN_PLACES else ''}",
            )
    yield from _passed(report)


def _passed(report: "DatasetReport") -> Iterator[tuple[str, str]]:
    """Files and folders that are not part of the dataset, grouped by reason."""
    reasons: dict[str, list[str]] = {}
    for entry in report.passed:
        reasons.setdefault(entry.reason, []).append(entry.name)
    for reason, names in reasons.items():
        more = ", …" if len(names) > SHOWN_PLACES else ""
        yield "passed over", f"{', '.join(names[:SHOWN_PLACES])}{more} ({reason})"


def _skipped_places(report: "DatasetReport", what: str) -> tuple[str, ...]:
    return tuple(problem.place for problem in report.skipped_places if problem.reason.endswith(f"({what})"))


def _places(count: int, places: tuple[str, ...], what: str = "") -> str:
    more = ", …" if count > SHOWN_PLACES else ""
    shown = f" ({', '.join(places[:SHOWN_PLACES])}{more})" if places else ""
    return f"{count:,}{' ' + what if what else ''}{shown}"


def upload_view(done: "Uploaded") -> Iterator["RenderableType"]:
    """The result of an upload: location, sizes, and what changed."""
    yield f"{done.uri}: {done.files:,} {'file' if done.files == 1 else 'files'}, {size(done.size)}"
    unchanged = f", {done.unchanged:,} unchanged" if done.unchanged else ""
    removed = f", {len(done.removed):,} removed" if done.removed else ""
    yield f"sent {len(done.sent):,} ({size(done.sent_size)}){unchanged}{removed}"


def fetch_view(done: "Fetched") -> Iterator["RenderableType"]:
    """The result of a fetch: fetched, existing, left and archived files."""
    here = len(done.files) - len(done.fetched)
    yield f"{done.path}: {len(done.files):,} files, {size(done.size)}, {done.checked:,} checked by SHA-256"
    yield f"fetched {len(done.fetched):,} ({size(done.fetched_size)})" + (f", {here:,} were here" if here else "")
    if done.adapter:
        yield f"adapter: {done.adapter}"
    if not done.over:
        yield f"run {done.run} is not over: this is what there is so far"
    if done.left:
        yield f"left in the bucket: {', '.join(f'{size(left)} of {part}' for part, left in done.left.items())}"
        yield f"which comes with: llmlab fetch {done.run} --only {','.join(done.left)}"
    for key in done.skipped:
        yield f"left out, because it leads out of {done.path}: {key}"
    for why in done.unreadable:
        yield f"not checked against its SHA-256s: {why}"
    for wait in done.archived:
        yield f"archived: {len(wait.keys):,} files, {size(wait.size)} in {wait.storage}; their restore takes {wait.takes}"
