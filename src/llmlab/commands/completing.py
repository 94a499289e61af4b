"""Shell completion of values. Errors give no completions, because nobody reads an error while typing."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from llmlab.errors import LabError

if TYPE_CHECKING:
    from llmlab.aws.session import Aws

NEWEST = 30
"""How many of the newest run ids are offered."""


def _offered(names: Iterable[str], incomplete: str) -> list[str]:
    return [name for name in dict.fromkeys(names) if name.startswith(incomplete)]


def _of_the_lab(ask: "Callable[[Aws], Iterable[str]]", incomplete: str) -> list[str]:
    from llmlab.commands.context import CliContext
    from llmlab.ui import Ui

    try:
        return _offered(ask(CliContext(ui=Ui()).aws), incomplete)
    except (LabError, OSError):
        return []


def recipes(incomplete: str) -> list[str]:
    """Complete a recipe: the shipped ones, and YAML files of this folder."""
    from llmlab.recipe import shipped

    return _offered([*shipped(), *sorted(str(path) for path in Path().glob("*.yaml"))], incomplete)


def runs(incomplete: str) -> list[str]:
    """Complete a run: `latest`, the names, and the newest ids."""

    def ask(aws: "Aws") -> list[str]:
        from llmlab.aws import documents, run_names
        from llmlab.contract import LATEST

        names = sorted(set(run_names.of_runs(aws).values()))
        return [LATEST, *names, *reversed(documents.runs(aws, aws.names.outputs_bucket)[-NEWEST:])]

    return _of_the_lab(ask, incomplete)


def datasets(incomplete: str) -> list[str]:
    """Complete a dataset: those that were uploaded."""

    def ask(aws: "Aws") -> list[str]:
        from llmlab.aws import documents
        from llmlab.contract import DATASETS

        return documents.names_under(aws, aws.names.data_bucket, DATASETS)

    return _of_the_lab(ask, incomplete)


def types(incomplete: str) -> list[str]:
    """Complete instance types: those of the shipped catalogue; after a comma the next one."""
    from llmlab.aws.instance_catalogue import TYPES

    before, comma, last = incomplete.rpartition(",")
    return [f"{before}{comma}{name}" for name in TYPES if name.startswith(last)]


def parts(incomplete: str) -> list[str]:
    """Complete a part of a run that can be fetched."""
    from llmlab.ops.fetch import What

    return _offered(What, incomplete)


def streams(incomplete: str) -> list[str]:
    """Complete a log stream of a run."""
    from llmlab.ops.logs import STREAMS

    return _offered(STREAMS, incomplete)
