"""Nothing that others wrote commands the user's terminal."""

import io

from llmlab.errors import LabError
from llmlab.ui import Hanging, Ui, table

FORGED = "loss 1.0\x1b]0;title\x07\x1b[2J\x9b31m\u202egnp.exe"


def shown(ui: Ui) -> str:
    assert isinstance(ui.stdout, io.StringIO)
    assert isinstance(ui.stderr, io.StringIO)
    return ui.stdout.getvalue() + ui.stderr.getvalue()


def test_escape_sequences_are_shown_and_not_obeyed() -> None:
    ui = Ui(stdout=io.StringIO(), stderr=io.StringIO(), stdin=io.StringIO())
    ui.line(FORGED)
    ui.say(FORGED)
    ui.error(LabError(FORGED, FORGED))
    ui.show(None, lambda: table(["a"], [[FORGED]]))
    ui.show(None, lambda: Hanging("- ", FORGED))
    assert not {"\x1b", "\x07", "\x9b", "\u202e"} & set(shown(ui))
    assert shown(ui).count("␛]0;title␇") == 6


def test_of_a_line_that_draws_over_itself_the_last_is_seen() -> None:
    ui = Ui(stdout=io.StringIO(), stderr=io.StringIO(), stdin=io.StringIO())
    ui.line("10%\r50%\r100%\r")
    assert shown(ui) == "100%\n"
