"""The JSON Schemas of what each command prints with `--json`, built from the dataclasses that the commands show.

A field whose default is "" is null until its value is known, as `ui.to_json` writes it. A schema allows exactly the existing fields; the
tests check all output of commands against it.
"""

import ast
import inspect
import itertools
import re
import textwrap
import types
import typing
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import MISSING, fields, is_dataclass
from datetime import date, datetime
from enum import Enum
from functools import cache
from pathlib import Path
from typing import Any, Union

from llmlab.aws.quotas import Increase
from llmlab.aws.secrets import Secret
from llmlab.commands.demo import Shown
from llmlab.dataset.report import LENGTHS, DatasetReport
from llmlab.dataset.trial import Trial
from llmlab.ops.bootstrap import Bootstrapped, Preview
from llmlab.ops.checkup import Checkup
from llmlab.ops.compare import Estimate
from llmlab.ops.cost import Costs
from llmlab.ops.fetch import Fetched
from llmlab.ops.image import Built
from llmlab.ops.init import Initialised
from llmlab.ops.lab_status import Overview
from llmlab.ops.launch import Launch
from llmlab.ops.logs import LogLine
from llmlab.ops.merge import MergeResult
from llmlab.ops.preflight import LaunchPlan
from llmlab.ops.resume import Resumed
from llmlab.ops.reward_trial import RewardsTried
from llmlab.ops.run_removal import Leaving
from llmlab.ops.runs import Detail
from llmlab.ops.stop import Stopped
from llmlab.ops.teardown import TornDown
from llmlab.ops.try_model import ModelAnswers
from llmlab.ops.upload import Uploaded

ERROR = {"error": str, "hint": str, "exit_code": int}
REPORT: dict[str, Any] = {"ok": bool, "trained_share": float, "template": Trial | None, "rewards": RewardsTried | None}
REPORT |= {field.name: field.type for field in fields(DatasetReport) if field.name not in {"verdicts", LENGTHS}}
FORM = {"form": str, "keys": str, "becomes": str, "examples": list[Any], "described": list[str]}
FORMS: dict[str, Any] = {
    "error": ERROR,
    "init": Initialised,
    "bootstrap --plan": Preview,
    "bootstrap": Bootstrapped,
    "bootstrap --print-operator-policy": dict[str, Any],
    "doctor": Checkup,
    "doctor --request-quota": list[Increase],
    "doctor --gpu": Launch,
    "validate": REPORT,
    "validate --forms": [FORM],
    "upload": Uploaded,
    "estimate": Estimate,
    "launch --dry-run": LaunchPlan,
    "launch": Launch,
    "launch --wait": Detail,
    "status": Overview,
    "status RUN": Detail,
    "logs": list[LogLine],
    "logs --follow": LogLine,
    "fetch": Fetched,
    "try": ModelAnswers,
    "merge": MergeResult,
    "stop": Stopped,
    "resume": Resumed,
    "resume --wait": Detail,
    "rm": Leaving,
    "cost": Costs,
    "report": {
        "run": str,
        "path": str,
        "state": str,
        "objective": str,
        "first_loss": float | None,
        "last_loss": float | None,
        "first_reward": float | None,
        "last_reward": float | None,
        "first_margin": float | None,
        "last_margin": float | None,
    },
    "image build": Built,
    "image push": Built,
    "secret set": Secret,
    "secret list": list[Secret],
    "secret remove": {"removed": str},
    "config": dict[str, dict[str, Any]],
    "teardown": TornDown,
    "sandbox start": {"endpoint": str, "pid": int, "folder": str, "environment": dict[str, str]},
    "sandbox stop": {"stopped": bool, "swept": int, "endpoint": str | None},
    "sandbox interrupt": {"instances": list[str], "notice_seconds": float},
    "sandbox model": {"path": str, "size": int},
    "sandbox data": {"path": str, "rows": int},
    "demo": Shown,
}
"""Command with the option that decides its output → type of that output: a class, or the fields themselves."""
NOT_SHOWN = {"connect", "sandbox exec"}
"""Commands without a document, as they hand the terminal to another program."""


def form_of(words: Sequence[str]) -> str:
    """The key of `FORMS` for a command line, "" for a command without a document."""
    plain = [word for word in words if not word.startswith("-")]
    command = " ".join(plain[:2]) if " ".join(plain[:2]) in FORMS else (plain or [""])[0]
    long_forms = {"-f": "--follow"}
    options = [name for word in words if (name := f"{command} {long_forms.get(word, word)}") in FORMS and word.startswith("-")]
    if command == "status" and len(plain) > 1:
        return "status RUN"
    return options[0] if options else command if command in FORMS else ""


def schema(form: str) -> dict[str, Any]:
    """The JSON Schema of what a command prints."""
    definitions: dict[str, Any] = {}
    root = _of(FORMS[form], definitions)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": f"llmlab {form} --json", **root} | (
        {"$defs": dict(sorted(definitions.items()))} if definitions else {}
    )


def _of(kind: Any, definitions: dict[str, Any]) -> dict[str, Any]:
    origin, inner = typing.get_origin(kind), typing.get_args(kind)
    if isinstance(kind, list):
        return {"type": "array", "items": _of(kind[0], definitions)}
    if isinstance(kind, Mapping):
        return _object({name: _of(field_kind, definitions) for name, field_kind in kind.items()})
    if origin is typing.Annotated:
        return _of(inner[0], definitions)
    if origin in {Union, types.UnionType}:
        return {"anyOf": [_of(member, definitions) for member in inner]}
    if kind in PLAIN:
        return dict(PLAIN[kind])
    if origin in {list, tuple, set, frozenset, Sequence} or origin in SEQUENCES:
        return {"type": "array", "items": _of(inner[0], definitions) if inner else {}}
    if origin in MAPPINGS or kind is dict:
        return {"type": "object", "additionalProperties": _of(inner[1], definitions) if inner else True}
    if isinstance(kind, type) and issubclass(kind, Enum):
        return {"enum": [member.value for member in kind]}
    if is_dataclass(kind):
        name = kind.__name__  # type: ignore[union-attr]
        if name not in definitions:
            definitions[name] = {}
            definitions[name] = _of_dataclass(kind, definitions)
        return {"$ref": f"#/$defs/{name}"}
    return {"type": "object"} if hasattr(kind, "model_fields") else {}


PLAIN: dict[Any, dict[str, Any]] = {
    str: {"type": "string"}, int: {"type": "integer"}, float: {"type": "number"}, bool: {"type": "boolean"}, type(None): {"type": "null"},
    datetime: {"type": "string", "format": "date-time"}, date: {"type": "string", "format": "date"}, Path: {"type": "string"}, Any: {},
}  # fmt: skip
SEQUENCES = {typing.get_origin(Sequence[int])}
MAPPINGS = {dict, typing.get_origin(Mapping[str, int])}


def _of_dataclass(kind: Any, definitions: dict[str, Any]) -> dict[str, Any]:
    hints, words = typing.get_type_hints(kind, include_extras=True), field_descriptions(kind)
    properties = {}
    for field in fields(kind):
        property_schema = _of(hints[field.name], definitions)
        if field.default == "" and field.default is not MISSING and property_schema.get("type") == "string":
            property_schema = {"type": ["string", "null"]}
        properties[field.name] = property_schema | ({"description": words[field.name]} if field.name in words else {})
    return {"description": _line(kind.__doc__ or "")} | _object(properties)


def _object(properties: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}


@cache
def field_descriptions(kind: Any) -> dict[str, str]:
    """The docstring below each field of a class, by field name, read from the source."""
    (definition,) = ast.parse(textwrap.dedent(inspect.getsource(kind))).body
    body = getattr(definition, "body", [])
    return {
        statement.target.id: _line(after.value.value)
        for statement, after in itertools.pairwise(body)
        if isinstance(statement, ast.AnnAssign)
        and isinstance(statement.target, ast.Name)
        and isinstance(after, ast.Expr)
        and isinstance(after.value, ast.Constant)
        and isinstance(after.value.value, str)
    }


def _line(text: str) -> str:
    return re.sub(r"\s+", " ", text).strip()


INTRODUCTION = """# What `--json` prints

One document on stdout; its schema is in [json/](json/). `null`: not known, or not looked up. Money is in US dollars, times are ISO 8601 in
UTC, sizes in bytes unless the name says otherwise. An error is a document too, and then the exit code is not 0.
"""


def page() -> Iterator[str]:
    """The page `docs/json.md`: a table of fields for each command."""
    yield INTRODUCTION
    for form in FORMS:
        document = schema(form)
        yield f"\n## {'an error' if form == 'error' else f'llmlab {form}'}\n\n"
        whole = document.get("items", document)
        name = whole.get("$ref", "").rpartition("/")[2]
        described = document.get("$defs", {}).get(name, whole)
        what = "A list of" if document.get("type") == "array" else "One a line:" if form == "logs --follow" else "Schema:"
        yield f"{what} [{file_of(form)}]({file_of(form)}). {described.get('description', '')}".rstrip() + "\n\n"
        yield "| field | is | |\n|---|---|---|\n"
        for field, facts in described.get("properties", {}).items():
            yield f"| `{field}` | {kind_words(facts)} | {facts.get('description', '').replace('|', chr(92) + '|')} |\n"


def kind_words(facts: Mapping[str, Any]) -> str:
    """The type of a JSON Schema in words."""
    if "$ref" in facts:
        return str(facts["$ref"]).rpartition("/")[2]
    if "enum" in facts:
        return "one of " + ", ".join(f"`{choice}`" for choice in facts["enum"])
    if "anyOf" in facts:
        return " or ".join(kind_words(choice) for choice in facts["anyOf"])
    if isinstance(facts.get("type"), list):
        return " or ".join(facts["type"])
    if facts.get("type") == "array":
        return f"list of {kind_words(facts.get('items', {}))}"
    return str(facts.get("format") or facts.get("type") or "anything")


def file_of(form: str) -> str:
    """The path of a command's schema, relative to the page."""
    return f"json/{form.replace(' --', '-').replace(' ', '-').lower()}.json"
