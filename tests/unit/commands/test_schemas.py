"""The documents that `--json` prints are written down: every command has a schema, and what it prints is held to it in tests/cli."""

from pathlib import Path
from typing import Any

import jsonschema
import typer

from llmlab.cli import app
from llmlab.commands import schemas
from llmlab.contract import RunState
from llmlab.ops.run_status import Run
from llmlab.ui import to_json

DOCS = Path(__file__).parents[3] / "docs"


def commands(group: Any, path: tuple[str, ...] = ()) -> list[str]:
    found = []
    for name, command in group.commands.items():
        found += commands(command, (*path, name)) if hasattr(command, "commands") else [" ".join((*path, name))]
    return found


def test_every_command_has_a_schema_and_every_schema_a_command() -> None:
    names = set(commands(typer.main.get_command(app)))
    assert len(names) > 25
    assert names - schemas.NOT_SHOWN == {schemas.form_of(name.split()) for name in names - schemas.NOT_SHOWN} & names
    known = {form.partition(" --")[0].removesuffix(" RUN") for form in schemas.FORMS} - {"error"}
    assert known == names - schemas.NOT_SHOWN


def test_every_schema_is_one_and_names_every_field() -> None:
    for form in schemas.FORMS:
        jsonschema.Draft202012Validator.check_schema(schemas.schema(form))
    there = {str(path.relative_to(DOCS)) for path in (DOCS / "json").iterdir()}
    assert there == {schemas.file_of(form) for form in schemas.FORMS}


def test_what_is_not_known_is_null_and_a_field_too_many_is_none_of_the_schema() -> None:
    run = to_json(Run("20261129-161107-wmru", RunState.SUCCEEDED))
    unknown = {"name", "reason", "instance", "instance_type", "checkpoint", "step", "attempts", "phase", "hint", "cost", "spot", "attempt"}
    assert {key for key in unknown if run[key] is not None} == set()
    detail = schemas.schema("status RUN")
    validator = jsonschema.Draft202012Validator({"$ref": "#/$defs/Run", "$defs": detail["$defs"]})
    assert validator.is_valid(run)
    assert not validator.is_valid({**run, "more": 1})
    assert not validator.is_valid({key: value for key, value in run.items() if key != "checkpoint"})
    assert not validator.is_valid({**run, "state": "gone"})


def test_the_line_decides_what_is_printed() -> None:
    lines = {
        "status": "status", "status latest": "status RUN", "logs x -f": "logs --follow", "launch --yes --wait": "launch --wait",
        "launch --dry-run --spot": "launch --dry-run", "secret list": "secret list", "doctor": "doctor",
    }  # fmt: skip
    for line, form in lines.items():
        assert schemas.form_of(line.split()) == form, line
