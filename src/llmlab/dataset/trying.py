"""Render and count rows with one model's template and tokenizer, part by part, on all cores; `trial` adds the parts up."""

import multiprocessing
import os
import signal
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from llmlab.dataset.check import Part, lines_of
from llmlab.dataset.clean import written
from llmlab.dataset.duplicates import SHOWN_PLACES
from llmlab.dataset.formats import Kind
from llmlab.dataset.forms import to_example
from llmlab.dataset.line import Line
from llmlab.dataset.reasons import BadRow, LeftOut
from llmlab.dataset.rendering.counting import Lengths, counting, is_installed
from llmlab.dataset.rendering.drafts import Draft, Drafter
from llmlab.dataset.rendering.limits import TooMuch
from llmlab.dataset.rendering.model_files import ModelFiles
from llmlab.dataset.rendering.template import TokenizerTemplate
from llmlab.dataset.repeats import More, Verdicts
from llmlab.errors import ExitCode, LabError

MOST_KEPT = 1000
"""Refusals kept with their words, of a part and of a dataset."""


@dataclass
class Tried:
    """The outcome of a part's lines; line numbers count from where the part begins. `longest` is a length and its line."""

    lines: int = 0
    refused: int = 0
    refusals: list[tuple[int, str]] = field(default_factory=list)
    sequences: int = 0
    several: int = 0
    tokens: int = 0
    trained: int = 0
    lengths: Counter[int] = field(default_factory=Counter)
    tokens_at: Counter[int] = field(default_factory=Counter)
    sequences_at: Counter[int] = field(default_factory=Counter)
    longest: tuple[int, int] = (0, 0)
    over: list[int] = field(default_factory=list)
    tools_ignored: int = 0
    thoughts_ignored: int = 0
    stopped: str = ""
    """Why the template was stopped: it does more than any honest one."""


class Trying:
    """A template and a tokenizer, ready to be tried; one in each process."""

    def __init__(self, files: ModelFiles, objective: str, max_length: int) -> None:
        self.arguments = (files.folder, files.template, files.more_tokens, objective, max_length)
        self.drafter = Drafter(TokenizerTemplate(files, special=files.special), objective)
        self.count: Callable[[Draft], Lengths] = counting(files)
        self.counted = files.vocabulary is not None and is_installed()
        self.max_length = max_length

    def tried(self, part: Part, left_out: set[int], more: dict[int, More]) -> Tried:
        """Try the rows of a part of a file. `left_out` and `more` are the verdicts on its rows."""
        tried = Tried()
        for line in lines_of(part):
            tried.lines += 1
            if line.row is None or line.number in left_out:
                continue
            try:
                self._row(tried, line, line.row, more.get(line.number))
            except LeftOut:
                continue
            except BadRow as error:
                tried.refused += 1
                if len(tried.refusals) < MOST_KEPT:
                    tried.refusals.append((line.number, str(error)))
            except TooMuch as error:
                tried.stopped = str(error)
                break
        return tried

    def _row(self, tried: Tried, line: Line, row: dict[str, Any], more: More | None) -> None:
        try:
            example = to_example(orjson.loads(written(line, row, more, "")) if more else row)
        except (LeftOut, BadRow, RecursionError, orjson.JSONEncodeError, UnicodeEncodeError):
            return  # the report has counted it
        drafts = self.drafter.drafts(example)
        sizes = [self.count(draft) for draft in drafts]
        if example.kind is Kind.PREFERENCE and len({_prompt(draft) for draft in drafts}) > 1:
            raise BadRow("chosen and rejected do not begin with the same prompt once they are rendered")
        longest, tokens = max(size for size, _ in sizes), sum(size for size, _ in sizes)
        tried.lengths[longest] += 1
        tried.tokens_at[longest] += tokens
        tried.sequences_at[longest] += len(drafts)
        tried.sequences += len(drafts)
        tried.several += example.kind is Kind.CHAT and len(drafts) > 1
        tried.tokens += tokens
        tried.trained += sum(trained for _, trained in sizes)
        tried.tools_ignored += bool(example.tools) and not self.drafter.template.shows_tools
        tried.thoughts_ignored += self.drafter.drops_thoughts(example, drafts)
        if longest > tried.longest[0]:
            tried.longest = (longest, line.number)
        if self.max_length and longest > self.max_length and len(tried.over) < SHOWN_PLACES:
            tried.over.append(line.number)


def _prompt(draft: Draft) -> str:
    return draft.text[: draft.spans[0][0]] if draft.spans else ""


# ---------------------------------------------------------------- in this process, or in several


def run(parts: list[Part], trying: Trying, verdicts: Verdicts, processes: int) -> Iterator[tuple[Part, Tried]]:
    """Yield each part with its outcome, in order."""
    left_out, more = verdicts.left_out, verdicts.more
    if processes == 1:
        for part in parts:
            yield part, trying.tried(part, left_out.get(part.file, set()), more.get(part.file, {}))
        return
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(processes, mp_context=context, initializer=_start, initargs=trying.arguments)
    try:
        futures = [pool.submit(_try, part, left_out.get(part.file, set()), more.get(part.file, {})) for part in parts]
        for part, future in zip(parts, futures, strict=True):
            yield part, future.result()
    except BrokenProcessPool as error:
        raise LabError("a process that tries the chat template was killed, perhaps for memory", "llmlab validate --help") from error
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


_trying: Trying


def _start(folder: Path, template: str, more_tokens: tuple[str, ...], objective: str, max_length: int) -> None:
    """Set up a worker process. Ctrl-C reaches it as well as its parent, and only the parent prints."""
    global _trying  # noqa: PLW0603 - a process's own, made once
    signal.signal(signal.SIGINT, lambda *_: os._exit(ExitCode.INTERRUPTED))
    _trying = Trying(ModelFiles(folder, template, more_tokens), objective, max_length)


def _try(part: Part, left_out: set[int], more: dict[int, More]) -> Tried:
    return _trying.tried(part, left_out, more)
