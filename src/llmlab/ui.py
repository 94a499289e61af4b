"""All output to the user. stdout is data, as text or as one JSON document; stderr is narrative, progress, errors and questions.

rich is imported at the first use of a table or a bar, so that `--help` and `--json` stay quick.
"""

import dataclasses
import json
import re
import shlex
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import TYPE_CHECKING, Any, TextIO

from llmlab.contract import CONTROL, HIDDEN, one_line, typed, visible
from llmlab.errors import ExitCode, Interrupted, LabError, Refused

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
    from rich.table import Table

PIPE_COLUMNS = 500
"""The width of output to a pipe or a file, wide enough that nothing is folded."""
Progress = Callable[[float, float], None]
"""Called with (done, total), in the unit of the bar."""
SETTINGS = re.compile(r"(LLMLAB_[A-Z_]+=\S+ +)+")
"""Environment variables that may precede an `llmlab` command in a hint."""
OBEYED = re.compile(f"[{re.escape(''.join(map(chr, sorted(CONTROL | HIDDEN))))}]")
"""Characters that may control a terminal; JSON escapes those below a blank by itself."""


class Ui:
    """The output of one command, and its questions to the user."""

    def __init__(
        self,
        *,
        as_json: bool = False,
        verbosity: int = 0,
        stdin: TextIO | None = None,
        stdout: TextIO | None = None,
        stderr: TextIO | None = None,
    ) -> None:
        self.as_json = as_json
        self.verbosity = verbosity
        self.stdin = stdin or sys.stdin
        self.stdout = stdout or sys.stdout
        self.stderr = stderr or sys.stderr
        self.answered = False
        self.typed: Sequence[str] = ()
        """The user's own command line, which hints repeat with a change."""

    @cached_property
    def _out(self) -> "Console":
        return _console(self.stdout)

    @cached_property
    def _err(self) -> "Console":
        return _console(self.stderr)

    def show(self, facts: object, view: "Callable[[], RenderableType | Iterable[RenderableType]]") -> None:
        """Show the result of a command: `facts` (a dataclass, pydantic model, mapping or list) as JSON, or what `view` returns."""
        self.answered = True
        if self.as_json:
            self._document(to_json(facts))
            return
        drawn = view()
        if isinstance(drawn, str) or not isinstance(drawn, Iterable) or hasattr(drawn, "__rich_console__"):
            drawn = [drawn]  # type: ignore[list-item]
        for part in drawn:
            _print(self._out, part)

    def _document(self, value: object) -> None:
        _write(self.stdout, _escaped(json.dumps(value, indent=1, ensure_ascii=False)) + "\n")

    def record(self, facts: object) -> None:
        """Print one of many results as a JSON document on a line of its own."""
        self.answered = True
        _write(self.stdout, _escaped(json.dumps(to_json(facts), ensure_ascii=False)) + "\n")

    def line(self, text: str) -> None:
        """Print one unstyled line of data, such as a log line or a path; of a line with carriage returns, what finally shows."""
        _write(self.stdout, text.rstrip("\r").rpartition("\r")[2] + "\n")

    def clear(self) -> None:
        """Clear the screen if stdout is a terminal."""
        if self.stdout.isatty():
            self.stdout.write("\x1b[H\x1b[2J\x1b[3J")

    def say(self, text: str, style: str = "") -> None:
        """Print a line of narrative on stderr."""
        if style and self.stderr.isatty():
            self._err.print(text, style=style, markup=False)
        else:
            _write(self.stderr, text + "\n")

    def tell(self, part: "RenderableType") -> None:
        """Print narrative that is more than a line, such as a table or a plan, on stderr."""
        _print(self._err, part)

    def detail(self, text: str) -> None:
        """Print narrative on stderr with `-v` only."""
        if self.verbosity:
            self.say(text, "dim")

    def error(self, error: LabError) -> None:
        """Print an error's sentence, and on its own line the hint: the typed line with the changes of the error's hint.

        With `--json` and nothing shown yet, the error is also the JSON document.
        """
        hint = self.laid_over(error.hint, error.without)
        if self.as_json and not self.answered:
            self._document({"error": error.message, "hint": hint, "exit_code": int(error.exit_code)})
        self.say(f"error: {one_line(error.message)}", "red")
        if hint:
            self.say(f"hint: {' '.join(hint.splitlines())}")  # two spaces may stand in a quoted word of it

    def confirm(self, question: str, *, yes: bool) -> None:
        """Ask a yes/no question; raise `Refused` for a no, or without a terminal to ask on."""
        if yes:
            return
        if self.as_json or not self.stdin.isatty():
            raise Refused(f"{question} needs an answer and there is no terminal to ask on", self.again("--yes"))
        if self._answer(f"{question} [y/N] ").lower() not in {"y", "yes"}:
            raise Refused("not confirmed, nothing was changed")

    def ask(self, question: str, expected: str, *, option: str) -> None:
        """Ask before an irreversible action: raise `Refused` unless `expected` is typed. `option` is the option that takes it instead."""
        if self.as_json or not self.stdin.isatty():
            raise Refused(f"{question} needs an answer and there is no terminal to ask on", self.again(option, expected))
        if self._answer(f"{question} Type {expected} to go on: ") != expected:
            raise Refused("not confirmed, nothing was changed")

    def _answer(self, question: str) -> str:
        """Read the answer to a question.

        Raises:
            Interrupted: Ctrl-C, before anything was changed.
        """
        _write(self.stderr, question)
        try:
            return self.stdin.readline().strip()
        except KeyboardInterrupt:
            raise Interrupted("interrupted at the question, nothing was changed", self.again()) from None

    def again(self, *words: str) -> str:
        """The typed command with words added, before a `--` if there is one, ready to be copied."""
        end = list(self.typed).index("--") if "--" in self.typed else len(self.typed)
        return shlex.join(["llmlab", *self.typed[:end], *words, *self.typed[end:]])

    def laid_over(self, hint: str, without: Sequence[str] = ()) -> str:
        """The typed line with the changes of a hint, after the environment variables that the hint begins with."""
        settings = SETTINGS.match(hint)
        return (settings[0] if settings else "") + typed.changed(self.typed, hint[settings.end() if settings else 0 :], without)

    def suggest(self, line: str) -> None:
        """Print the command to run next on stderr, with the typed line's lab options."""
        self.say(f"next: {typed.same_lab(self.typed, line)}")

    @contextmanager
    def painted(self) -> "Iterator[Callable[[str], None] | None]":
        """A function that repaints one line on stderr while the block runs, cleared after it; None without a terminal."""
        if self.as_json or not self.stderr.isatty():
            yield None
            return

        def paint(text: str) -> None:
            self.stderr.write("\r\x1b[2K" + visible(" ".join(text.splitlines()))[: max(1, self._err.width - 1)])
            self.stderr.flush()

        try:
            yield paint
        finally:
            paint("")

    @contextmanager
    def bar(self, title: str, unit: str = "") -> "Iterator[Progress]":
        """A progress bar on stderr while the block runs; `unit` is "bytes" or the name of what is counted. Silent when not a terminal."""
        if self.as_json or not self.stderr.isatty():
            yield lambda _done, _total: None
            return
        from rich.progress import (
            BarColumn,
            DownloadColumn,
            MofNCompleteColumn,
            Progress as Bars,
            TextColumn,
            TimeRemainingColumn,
            TransferSpeedColumn,
        )

        count = [DownloadColumn(), TransferSpeedColumn()] if unit == "bytes" else [MofNCompleteColumn(), TextColumn(unit, markup=False)]
        with Bars(
            TextColumn("{task.description}", markup=False), BarColumn(), *count, TimeRemainingColumn(), console=self._err, transient=True
        ) as bars:
            task = bars.add_task(title, total=None)
            yield lambda done, total: bars.update(task, completed=done, total=total)


def _escaped(document: str) -> str:
    """Escape the characters of a JSON document that control a terminal, as JSON's own escapes."""
    return OBEYED.sub(lambda match: f"\\u{ord(match[0]):04x}", document)


def _write(stream: TextIO, text: str) -> None:
    """Write text to a stream with control characters made visible. All output that rich does not draw passes here."""
    stream.write(visible(text))
    stream.flush()


def _console(stream: TextIO) -> "Console":
    """A rich console without markup that makes control characters visible. Everything that rich draws passes here.

    Strings are made visible before their width is measured; other objects with text, such as a `Text`, when they are written.
    """
    from rich.console import Console
    from rich.segment import Segment

    class Visible(Console):
        def render_str(self, text: str, **options: Any) -> Any:
            return super().render_str(visible(text), **options)

        def _render_buffer(self, buffer: "Iterable[Segment]") -> str:
            return super()._render_buffer(
                [segment if segment.control else Segment(visible(segment.text), segment.style) for segment in buffer]
            )

    return Visible(file=stream, highlight=False, markup=False, emoji=False, width=None if stream.isatty() else PIPE_COLUMNS)


def _print(console: "Console", part: "RenderableType") -> None:
    """Print with rich; into a pipe without the trailing blanks of a table's last column."""
    if console.is_terminal:
        console.print(part, crop=False)  # what is wider than the terminal is `CommandLine`, which it wraps
        return
    with console.capture() as captured:
        console.print(part)
    console.file.write("".join(f"{line.rstrip()}\n" for line in captured.get().splitlines()))
    console.file.flush()


class Hanging:
    """A line with a hanging indent: wrapped lines start below the text after `lead`; not wrapped in a file or a pipe."""

    def __init__(self, lead: str, text: str, style: str = "", lead_style: str = "") -> None:
        self.lead, self.text, self.style, self.lead_style = visible(lead), visible(text), style, lead_style  # whose widths are counted

    def __rich_console__(self, console: "Console", options: "ConsoleOptions") -> "Iterator[RenderableType]":
        from rich.text import Text

        body = Text(self.text, style=self.style)
        width = options.max_width - len(self.lead)
        if options.no_wrap or width < 20:
            yield Text.assemble((self.lead, self.lead_style), body)
            return
        for number, line in enumerate(body.wrap(console, width)):
            yield Text.assemble((self.lead if number == 0 else " " * len(self.lead), self.lead_style), line)


class CommandLine:
    """A command to be copied, which only the terminal wraps, so that it contains no line break."""

    def __init__(self, lead: str, command: str) -> None:
        self.text = visible(lead + command)

    def __rich_console__(self, console: "Console", options: "ConsoleOptions") -> "Iterator[RenderableType]":
        from rich.text import Text

        yield Text(self.text, no_wrap=True, overflow="ignore")


def empty_table(**look: Any) -> "Table":
    """An empty rich table whose `no_wrap` columns stay as wide as their cells, so that no number is ever cut.

    Where the terminal is too narrow, no column is folded, and the terminal wraps the lines itself.
    """
    from rich.cells import cell_len
    from rich.segment import Segment
    from rich.table import Table

    class Whole(Table):
        def add_row(self, *cells: Any, **options: Any) -> None:
            for column, cell in zip(self.columns, cells, strict=True):
                if column.no_wrap:
                    column.min_width = max(column.min_width or cell_len(visible(str(column.header))), cell_len(visible(str(cell))))
            super().add_row(*cells, **options)

        def __rich_console__(self, console: "Console", options: "ConsoleOptions") -> "RenderResult":
            needed = self.__rich_measure__(console, options.update(max_width=PIPE_COLUMNS))
            if needed.minimum <= options.max_width:
                yield from super().__rich_console__(console, options)
                return
            drawn = super().__rich_console__(console, options.update(max_width=needed.maximum))
            for line in Segment.split_lines(part for part in drawn if isinstance(part, Segment)):
                while line and not line[-1].text.strip():  # blanks that the terminal would wrap into empty lines
                    line.pop()
                if line:
                    line[-1] = Segment(line[-1].text.rstrip(), line[-1].style)
                yield from [*line, Segment.line()]

    return Whole(box=None, pad_edge=False, **{"header_style": "bold", **look})


def table(
    names: Sequence[str], rows: Iterable[Sequence[object]], *, right: Sequence[str] = (), whole: Sequence[str] = ()
) -> "RenderableType":
    """A borderless table; columns named in `right` are numbers, those and the ones in `whole` are never wrapped."""
    drawn = empty_table()
    for name in names:
        drawn.add_column(name, justify="right" if name in right else "left", overflow="fold", no_wrap=name in {*right, *whole})
    for row in rows:
        drawn.add_row(*("" if cell is None else str(cell) for cell in row))
    return drawn


def to_json(value: Any) -> Any:
    """Convert facts (dataclasses, models, containers, dates) to plain JSON values."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {item.name: _known(item, to_json(getattr(value, item.name))) for item in dataclasses.fields(value)}
    if hasattr(value, "model_dump"):
        return value.model_dump(mode="json")
    if isinstance(value, Mapping):
        return {str(key): to_json(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [to_json(item) for item in value]
    if hasattr(value, "isoformat"):
        return value.isoformat()
    if isinstance(value, (str, int, float, bool)) or value is None:
        return value
    return str(value)


def _known(item: "dataclasses.Field[Any]", value: object) -> object:
    """The value of a field, None for "" where that is the default: unknown values are null in JSON."""
    return None if value == "" and item.default == "" else value


def exit_code_of(error: BaseException) -> int:
    """The exit code of the process after an error."""
    if isinstance(error, LabError):
        return int(error.exit_code)
    return int(ExitCode.INTERRUPTED if isinstance(error, KeyboardInterrupt) else ExitCode.FAILED)
