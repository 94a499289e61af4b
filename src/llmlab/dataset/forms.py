"""THE table of the forms a row may have: the keys that identify each, its reader, and the other keys that it reads.

Everything that knows forms reads it: detection, the quick path (`usual`), `llmlab validate --forms` and docs/data.md. A row's form is known
by its keys alone, in the order of the table; a key whose value is null counts as absent, because Parquet has no other way to leave one out.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from llmlab.dataset.calls import Unread
from llmlab.dataset.chats import AROUND, STOPS, messages_of, pair_of, read_gemini, read_text
from llmlab.dataset.formats import Example, Format
from llmlab.dataset.forms_refused import refused
from llmlab.dataset.forms_shown import SHOWN
from llmlab.dataset.keys import HARMLESS, THOUGHTS, refuse, suspicious
from llmlab.dataset.logs import log_form, read_log
from llmlab.dataset.preferences import ASKS, CONVERSATIONS, REJECTED, read_openai_preference, read_preference, read_rejected_response
from llmlab.dataset.reasons import BadRow

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Form:
    """One form of rows. `needs` are the keys that identify it, all of them required; `reads` are other keys that it reads."""

    format: Format
    needs: tuple[str, ...]
    reads: frozenset[str]
    read: Callable[[Row, Unread], Example]


def _form(form: Format, needs: str, read: Callable[[Row, Unread], Example], *reads: str | frozenset[str]) -> Form:
    more = frozenset(key for keys in reads for key in ((keys,) if isinstance(keys, str) else keys))
    return Form(form, tuple(needs.split()), more, read)


_CHAT = AROUND | STOPS
_PAIR = AROUND | frozenset(THOUGHTS) | {"history"}
_PREFERENCE = AROUND | frozenset((*ASKS, *CONVERSATIONS, "history")) - {"history"}

FORMS: tuple[Form, ...] = (
    _form(Format.SESSION, "request response", read_log, "error"),
    _form(Format.SESSION, "request error", read_log),
    _form(Format.PREFERENCE, "chosen rejected", read_preference, _PREFERENCE),
    _form(Format.OPENAI_PREFERENCE, "input preferred_output non_preferred_output", read_openai_preference),
    *(_form(Format.REJECTED_RESPONSE, f"messages {key}", read_rejected_response, AROUND) for key in REJECTED),
    _form(Format.MESSAGES, "messages", messages_of("messages", Format.MESSAGES), _CHAT),
    _form(Format.CONVERSATIONS, "conversations", messages_of("conversations", Format.CONVERSATIONS), _CHAT),
    _form(Format.MESSAGES, "conversation", messages_of("conversation", Format.MESSAGES), _CHAT),
    _form(Format.CONVERSATIONS, "items", messages_of("items", Format.CONVERSATIONS), _CHAT),
    _form(Format.GEMINI, "contents", read_gemini, AROUND, "systemInstruction", "system_instruction"),
    _form(Format.PROMPT_COMPLETION, "prompt completion", pair_of("prompt", "completion", Format.PROMPT_COMPLETION), _PAIR),
    _form(Format.ALPACA, "instruction output", pair_of("instruction", "output", Format.ALPACA, ("input",)), _PAIR, "input"),
    _form(
        Format.INSTRUCTION_RESPONSE,
        "instruction response",
        pair_of("instruction", "response", Format.INSTRUCTION_RESPONSE, ("context", "input")),
        _PAIR,
        "context",
        "input",
    ),
    _form(Format.PROMPT_RESPONSE, "prompt response", pair_of("prompt", "response", Format.PROMPT_RESPONSE), _PAIR),
    _form(Format.PROMPT_ANSWER, "prompt answer", pair_of("prompt", "answer", Format.PROMPT_ANSWER), _PAIR),
    _form(Format.QUERY_RESPONSE, "query response", pair_of("query", "response", Format.QUERY_RESPONSE), _PAIR),
    _form(Format.QUESTION_ANSWER, "question answer", pair_of("question", "answer", Format.QUESTION_ANSWER), _PAIR),
    _form(Format.QUESTION_RESPONSE, "question response", pair_of("question", "response", Format.QUESTION_RESPONSE), _PAIR),
    _form(Format.INPUT_OUTPUT, "input output", pair_of("input", "output", Format.INPUT_OUTPUT), _PAIR),
    _form(Format.TEXT, "text", read_text),
)
LABELS = ("label", "kto_tag")
"""Keys that make a chat or a pair into an unpaired preference, when they hold true or false:
https://huggingface.co/docs/trl/dataset_formats#unpaired-preference, and LLaMA-Factory's."""
NO_LABELS = frozenset({Format.TEXT, Format.PREFERENCE, Format.OPENAI_PREFERENCE, Format.REJECTED_RESPONSE, Format.SESSION})
REDUNDANT = {Format.ALPACA: frozenset({"text"}), Format.PREFERENCE: frozenset({"history"})}
"""Keys of a form that repeat its others: Alpaca's `text` is its other keys in a template."""


@dataclass(frozen=True)
class FormPlan:
    """How all rows with the same keys are read: by which form, which of their keys it does not read, and the key of a label."""

    form: Form | None
    unread: tuple[str, ...] = ()
    suspects: tuple[str, ...] = ()
    label: str = ""


_plans: dict[tuple[str, ...], FormPlan] = {}
MOST_PLANS = 4096


def plan_of(keys: tuple[str, ...]) -> FormPlan:
    """The plan for rows that have these keys, worked out once."""
    plan = _plans.get(keys)
    if plan is None:
        if len(_plans) >= MOST_PLANS:
            _plans.clear()
        plan = _plans[keys] = _plan(keys)
    return plan


def _plan(keys: tuple[str, ...]) -> FormPlan:
    names = frozenset(keys)
    form = next((form for form in FORMS if names.issuperset(form.needs)), None)
    if form is None:
        return FormPlan(None)
    read = form.reads.union(form.needs, REDUNDANT.get(form.format, ()))
    label = "" if form.format in NO_LABELS else next((key for key in LABELS if key in names), "")
    others = [key for key in keys if key not in read and key != label]
    suspects = tuple(key for key in others if suspicious(key) and (form.format is Format.TEXT or key not in LABELS))
    return FormPlan(form, tuple(key for key in others if key not in HARMLESS and key not in suspects), suspects, label)


def keys_of(row: Row) -> tuple[str, ...]:
    """The keys of a row whose values are not null."""
    return tuple(row) if None not in row.values() else tuple(key for key, value in row.items() if value is not None)


def detect(row: Row) -> Format | None:
    """The format of a row by its keys, or None."""
    plan = plan_of(keys_of(row))
    if plan.form is None:
        return None
    if plan.label and label_of(row[plan.label]) is not None:
        return Format.KTO
    return log_form(row) if plan.form.format is Format.SESSION and row.get("response") is not None else plan.form.format


def to_example(row: Row) -> Example:
    """Detect a row's form, and read the row into an `Example`.

    Raises:
        LeftOut: it is a row of a log that teaches nothing, such as a failed request.
        BadRow: no form fits, or the row is not what its form asks for, or a key would be lost that changes its meaning.
    """
    plan = plan_of(keys_of(row))
    form = plan.form
    if form is None:
        raise BadRow(refused(row, [known.needs for known in FORMS], [known.format for known in FORMS]))
    if plan.suspects:
        refuse(row, plan.suspects, " and ".join(form.needs))
    unread = {key for key in plan.unread if row[key] not in ("", [], {})} if plan.unread else set()
    example = form.read(row, unread)
    if plan.label:
        label = label_of(row[plan.label])
        if label is None:
            unread.add(plan.label)
        else:
            example = example._replace(format=Format.KTO, label=label)
    return example._replace(unread=tuple(sorted(unread))) if unread else example


def label_of(value: object) -> bool | None:
    """A label as true or false, which may be written as 1 or 0; None for anything else, which does not judge an answer."""
    return bool(value) if isinstance(value, bool) or (isinstance(value, int) and value in (0, 1)) else None


def shown() -> Iterator[tuple[str, str, str, tuple[Any, ...], tuple[str, ...]]]:
    """Yield each form for the documentation: its name, the keys that identify it, what it becomes, examples, and addresses."""
    for name, (becomes, examples, sources) in SHOWN.items():
        needs = [" + ".join(form.needs) for form in FORMS if form.format is name]
        yield name, " or ".join(dict.fromkeys(needs)) or TOLD[name], becomes, examples, sources


TOLD = {
    Format.OPENAI_LOG: "request + response, with choices",
    Format.RESPONSES_LOG: "request + response, with output",
    Format.CLAUDE_CODE: "a file of Claude Code's",
    Format.CODEX: "a file of Codex's",
    Format.KTO: "label or kto_tag, true or false, beside a chat or a pair",
}
"""How forms that have no entry of their own in the table are recognised."""
