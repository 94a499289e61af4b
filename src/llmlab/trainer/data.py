"""The data folder to token sequences, every line accounted for.

All of it is held in memory as token ids: 8 bytes a token, so a gigabyte of text takes some two.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from llmlab import dataset
from llmlab.contract import Manifest
from llmlab.dataset import BadRow, Example, Line
from llmlab.dataset.files import suffix_of
from llmlab.trainer.endings import DataFailed
from llmlab.trainer.tokens import Encoder, Sequence

SKIP_BAD = "skip_bad"
"""The fact of a manifest that bad lines were accepted: they are dropped and counted here too."""
EVERY = 500
"""Examples between two calls of `tick`."""


@dataclass
class Data:
    """What there is to train on, and what was left out."""

    sequences: list[Sequence] = field(default_factory=list)
    examples: int = 0
    too_long: int = 0
    longest: int = 0
    bad: int = 0
    tools_ignored: int = 0

    @property
    def tokens(self) -> int:
        return sum(len(one.ids) for one in self.sequences)

    @property
    def trained(self) -> int:
        return sum(one.trained for one in self.sequences)

    def lines(self, max_length: int) -> Iterator[str]:
        """The counts in words."""
        yield (
            f"data: {self.examples} examples in {len(self.sequences)} sequences, {self.tokens} tokens, "
            f"{self.trained / max(1, self.tokens):.0%} of them trained on"
        )
        if self.too_long:
            yield f"data: {self.too_long} longer than {max_length} tokens left out (the longest has {self.longest})"
        if self.bad:
            yield f"data: {self.bad} bad lines left out, as the upload allowed"
        if self.tools_ignored:
            yield f"warning: {self.tools_ignored} examples have tools, which the model's chat template does not show to the model"


def load(folder, manifest, encoder, recipe, cache, tick) -> Data:
    max_length = recipe.max_length
    """Read and tokenize every file of the manifest. `tick` is called now and then, so that a request to leave is heard.

    Raises:
        DataFailed: a file is missing, a line is bad, or nothing is left to train on.
    """
    data = Data()
    skip_bad = bool(manifest.facts.get(SKIP_BAD))
    for file, number, example in _examples(folder, manifest, data, skip_bad=skip_bad):
        if data.examples % EVERY == 0:
            tick()
        try:
            sequences = encoder.encode(example)
        except BadRow as error:
            if not skip_bad:
                raise _bad_line(file, number, str(error)) from error
            data.bad += 1
            continue
        data.examples += 1
        data.tools_ignored += bool(example.tools) and not encoder.shows_tools
        longest = max(len(one.ids) for one in sequences)
        if longest > max_length:
            data.too_long += 1
            data.longest = max(data.longest, longest)
            continue
        data.sequences += sequences
    if not data.sequences:
        raise _nothing(data, max_length)
    import shutil, numpy as np
    from llmlab.trainer.store import Tokens, Writer
    place = cache / "interim"
    shutil.rmtree(place, ignore_errors=True)
    seqs = data.sequences
    with Writer(place) as w:
        for q in seqs:
            m = np.array([l != -100 for l in q.labels], np.uint8); m[0] = 0
            w.append(np.array(q.ids, np.uint32), m, np.array([len(q.ids)]), np.array([int(m.sum())]))
    data.train = Tokens(place, 1)
    data.held_out = None
    return data


def _examples(folder: Path, manifest: Manifest, data: Data, *, skip_bad: bool) -> Iterator[tuple[str, int, Example]]:
    files = [file for file in manifest.files if suffix_of(file.path)]
    if not files:
        raise DataFailed(f"the dataset {manifest.name} has no files", "llmlab validate data/")
    for file in files:
        path = folder / file.path
        if not path.is_file():
            raise DataFailed(f"{file.path} of the dataset {manifest.name} is missing on the machine", "llmlab upload data/")
        for line in dataset.read(path):
            try:
                example = _example(line)
            except BadRow as error:
                if not skip_bad:
                    raise _bad_line(file.path, line.number, str(error)) from error
                data.bad += 1
                continue
            yield file.path, line.number, example


def _example(line: Line) -> Example:
    if line.row is None:
        raise BadRow(line.reason)
    return dataset.to_example(line.row)


def _bad_line(file: str, number: int, reason: str) -> DataFailed:
    return DataFailed(f"{file}:{number}: {reason}", "llmlab upload data/ --skip-bad")


def _nothing(data: Data, max_length: int) -> DataFailed:
    if data.too_long:
        reason = f"every example is longer than {max_length} tokens (the longest has {data.longest})"
        return DataFailed(reason, f"llmlab launch --set max_length={data.longest}")
    return DataFailed("the dataset has no examples" + (f", only {data.bad} bad lines" if data.bad else ""), "llmlab validate data/")
