"""Every hint that the tests provoke, held to what a hint is for: a line that runs, and that loses nothing that limits money.

What the command line of the tests shows as a line to copy (`hint:`, `next:`, `mend:`, a field of `--json`) comes here, and so does the hint
of every error that is made in a test's process. A line of ours is parsed by our own commands, one of another program by that program
where it is on this machine (`aws`, `pip`, `python -m`), and all others stand on a list: `tests.hint_lines`.

`--hints` also runs each form of hint of ours once, in the account, folder and moment of the test that provoked it: in a fork of the
process, which leaves both as they were.
"""

import contextlib
import json
import os
import re
import shlex
import shutil
import signal
import tempfile
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from llmlab.clock import ManualClock
from llmlab.contract import typed, visible
from llmlab.errors import ExitCode
from tests.hint_lines import Heard, options, parsed, words_of

SHOWN = re.compile(r"^ *(hint|next|mend): +(\S.*)$", re.MULTILINE)
FIELDS = frozenset({"hint", "next", "mend"})
"""Fields of `--json` that hold a line to copy."""
LIMITS = frozenset({"--budget", "--dry-run", "--max-cost", "--max-hours", "--no-resume", "--plan", "--spot"})
"""Options that keep a line from spending, or from spending more."""
PREVIEWS = frozenset({"--dry-run", "--plan"})
"""Those that what is `next` goes without: the step behind a preview is the thing itself."""
MEANT_TO_GO = (("there is no settings file", "--config"),)
"""What an error says of an option → the option that its hint goes without."""
FILLED_IN = frozenset({"data/", "FILE", "FOLDER", "MODEL_FOLDER", "NAME", "token.txt"})
"""What a hint names for the user to put something else there."""
ODD = "it's mine"
"""A name of which a shell makes something else, where it is not quoted; what tests call by it is not what it should be."""
NOT_RUN = frozenset({"connect", "demo", "image", "merge", "sandbox", "try"})
"""Commands of ours that start programs which a test has not: such a hint is parsed alone."""
LONGEST_SECONDS = 120
MOST_WAITS = 200


@dataclass
class Ledger:
    """What one process of tests has heard, and what was wrong with it."""

    heard: set[Heard] = field(default_factory=set)
    wrong: list[str] = field(default_factory=list)
    """Of the test under way: errors are made where an assertion would be caught."""
    ran: dict[str, str] = field(default_factory=dict)
    """Form of a hint and of the line before it → how it ended."""
    running: bool = False
    """Whether hints are run too."""

    def made(self, line: str) -> None:
        """The hint of an error, still without the line that it is laid over, as a terminal would get it."""
        try:
            self.heard.add(parsed("made", visible(" ".join(line.splitlines()))))
        except AssertionError as wrong:
            self.wrong.append(str(wrong))

    def shown(self, words: Sequence[str], code: int, out: str, err: str) -> list[tuple[str, str]]:
        """The lines that a command line showed, each of which parses and keeps the limits of the line as typed."""
        lines = [(found[1], found[2]) for text in (out, err) for found in SHOWN.finditer(text)] + list(in_json(out))
        for kind, line in lines:
            self.heard.add(parsed(kind, line))
            assert not line.startswith("llmlab") or typed.command(typed.items(words_of(line)[1:])) or "--help" in line, (
                f"`{line}` has no command"
            )
            lost = lost_limits(words, kind, line) - {option for sentence, option in MEANT_TO_GO if sentence in out + err}
            assert not lost, f"`llmlab {shlex.join(words)}` has the hint `{line}`, which lost {', '.join(sorted(lost))}"
            torn = [word for word in words if word in line and shlex.quote(word) != word and not any(word in one for one in words_of(line))]
            assert not torn, f"in `{line}` the shell would take {torn} apart"
            answered = code == ExitCode.REFUSED and "needs an answer" in out + err
            assert answered or not {"--yes", "-y"} & set(line.split()) - set(words), f"`{line}` says yes, which nobody typed"
        return lines

    def verify(self) -> None:
        """At a test's end."""
        wrong, self.wrong = self.wrong, []
        assert not wrong, "; ".join(wrong)

    def counts(self) -> str:
        """One line: how many hints, of which programs, and how those that ran ended."""
        lines = {one.line: one for one in self.heard}.values()
        shown = {one.line for one in self.heard if one.kind != "made"}
        programs = [f"{name} {count}" for name, count in sorted(Counter(one.program for one in lines).items())]
        ours = {one.form.split(" --")[0] for one in lines if one.program == "llmlab"}
        ends = [f"{name} {count}" for name, count in sorted(Counter(self.ran.values()).items())]
        return (
            f"{len(lines)} lines in {len({one.form for one in lines})} forms, {len(shown)} of them shown; {', '.join(programs)}; "
            f"{len(ours)} commands of ours; " + (f"run: {', '.join(ends)}" if ends else "none was run")
        )

    def packed(self) -> dict[str, Any]:
        """For xdist's way from a worker to who asked for it."""
        return {"heard": [[one.kind, one.line, one.program, one.form] for one in self.heard], "ran": self.ran}

    def take(self, packed: dict[str, Any]) -> None:
        self.heard |= {Heard(*one) for one in packed.get("heard", ())}
        self.ran |= packed.get("ran", {})


LEDGER = Ledger()


def in_json(out: str) -> Iterator[tuple[str, str]]:
    """The lines to copy in the documents of an answer."""
    if not out.lstrip().startswith(("{", "[")):
        return
    with contextlib.suppress(ValueError):
        yield from _lines(json.loads(out))


def _lines(value: object) -> Iterator[tuple[str, str]]:
    for name, item in value.items() if isinstance(value, dict) else ():
        if name in FIELDS and isinstance(item, str) and item:
            yield "fact", item
    for item in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from _lines(item)


def lost_limits(words: Sequence[str], kind: str, line: str) -> set[str]:
    """Options of a line as typed that limit what it spends or say which lab is meant, and the line behind it would take and has not."""
    _, program, rest = line.partition("llmlab ")  # settings may stand before it
    if not program or words_of(line)[0] in {"aws", "rm"} or "--help" in rest:
        return set()
    new = typed.items(words_of(rest))
    limits = (
        (LIMITS - PREVIEWS if kind == "next" else LIMITS) & options(typed.command(new)) if not typed.ALONE & set(line.split()) else set()
    )
    limits |= set() if kind == "fact" else set(typed.ANYWHERE)
    same = {name for name, _ in new} | {typed.OPPOSITES[name] for name, _ in new if name in typed.OPPOSITES}
    return {name for name, _ in typed.items(words) if name in limits - same}


# ---------------------------------------------------------------- run where it was shown


class Waits(ManualClock):
    """A clock on which nobody waits for ever: Ctrl-C after many waits."""

    waits = 0

    def sleep(self, seconds: float) -> None:
        self.waits += 1
        if self.waits > MOST_WAITS:
            raise KeyboardInterrupt
        super().sleep(seconds)


def run_each(typed_line: Sequence[str], error: str, lines: Iterable[tuple[str, str]], play: Callable[..., Any]) -> None:
    """Run those whose form, behind a line of this form, has not been run yet. `play` is the command line, given a clock and words.

    Raises:
        AssertionError: one is a usage error, a bug, or ends with the very sentence that it was to mend.
    """
    for kind, line in lines:
        key = f"{parsed(kind, line).form} < {' '.join(typed.command(typed.items(typed_line)))}"
        words = words_of(line)
        if words[0] != "llmlab" or key in LEDGER.ran:
            continue
        if set(words) & NOT_RUN or " < " in line or "&&" in line or any(ODD in word or _is_missing(word) for word in words):
            LEDGER.ran[key] = "parsed alone"
            continue
        code, said = in_a_fork(lambda words=words: play(words[1:]))
        LEDGER.ran[key] = ExitCode(code).name.lower() if code in set(ExitCode) else f"code {code}"
        before = f"`{line}` behind `llmlab {shlex.join(typed_line)}`"
        assert code in set(ExitCode), f"{before} ended with {code}: {said}"
        assert not said.startswith("a bug in llmlab"), f"{before}: {said}"
        again = words[1:] == list(typed_line) or "--wait-for-capacity" in words  # what passes by itself, but not while nothing else happens
        assert again or kind != "hint" or not error or said != error, f"{before} ends with the same: {said}"
        assert code != ExitCode.USAGE, f"{before} is not to be used: {said}"


def _is_missing(word: str) -> bool:
    """Whether this is a file or a folder that the user is to have, and has not."""
    return (word in FILLED_IN or word.endswith("/")) and not Path(word).exists()


def in_a_fork(play: Callable[[], Any]) -> tuple[int, str]:
    """The exit code and the error of a command line in a copy of this process, in a copy of the current folder."""
    with tempfile.TemporaryDirectory() as place:
        answer, folder = Path(place) / "answer.json", Path(place) / "project"
        shutil.copytree(".", folder, symlinks=True)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            child = os.fork()
        if not child:
            code = 70
            try:
                signal.signal(signal.SIGALRM, signal.SIG_DFL)
                signal.alarm(LONGEST_SECONDS)
                os.chdir(folder)
                LEDGER.running = False
                result = play()
                answer.write_text(json.dumps([result.code, result.error]), encoding="utf-8")
                code = 0
            except BaseException as error:  # noqa: BLE001 - told to the parent
                answer.write_text(json.dumps([71, f"{type(error).__name__}: {error}"]), encoding="utf-8")
            finally:
                os._exit(code)
        _, status = os.waitpid(child, 0)
        if not answer.exists():
            return 72, f"the process ended with status {status}"
        code, said = json.loads(answer.read_text(encoding="utf-8"))
        return code, said
