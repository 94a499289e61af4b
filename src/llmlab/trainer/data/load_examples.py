"""Tokenises the data folder into a cache on disk, every line accounted for.

The tokens lie in the work folder's cache, named for everything that they depend on: the files' hashes, the tokenizer, its template and
the recipe's fields about data. They are written aside and renamed when whole, so that a second start opens them without reading a line.
"""

import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from hashlib import blake2b
from pathlib import Path
from typing import Any

from llmlab.contract import Manifest, parse_timestamp
from llmlab.dataset.check import LINES
from llmlab.dataset.files import DataPath
from llmlab.dataset.report import SKIP_BAD, SPLITS
from llmlab.dataset.suffixes import TEST, VALID
from llmlab.files import replace_text
from llmlab.recipe import Recipe
from llmlab.trainer.data import grpo_prompts, worker_pool
from llmlab.trainer.data.example_encoder import Encoder
from llmlab.trainer.data.facts import Facts
from llmlab.trainer.data.grpo_prompts import PromptRow
from llmlab.trainer.data.token_dataset import Tokens, Writer, sizes
from llmlab.trainer.data.tokenize_shard import Block, Rules, Tick
from llmlab.trainer.failures import DataFailed

LAYOUT = 3
"""Version of the cache; raised when the same data would make other tokens."""
TRAIN, HELD_OUT, FACTS = "train", "held-out", "facts.json"
WORTH_PROCESSES = 24 << 20
"""Smaller datasets are tokenised in this process: eight seconds of one core, and starting another takes three."""
MOST_PROCESSES = 16


@dataclass
class Data:
    """The tokenised dataset: its training part, its held-out part, and counts of both and of what was left out."""

    train: Tokens
    held_out: Tokens | None
    facts: Facts
    share: float = 0.0
    prompts: tuple[PromptRow, ...] = ()
    held_out_prompts: tuple[PromptRow, ...] = ()
    """For rewards: the prompt rows, in the order of the tokens."""

    def lines(self, max_length: int) -> Iterator[str]:
        """The counts in words."""
        return self.facts.lines(max_length, self.share)


def load(
    folder: Path,
    manifest: Manifest,
    encoder: Encoder,
    recipe: Recipe,
    cache: Path,
    tick: Tick,
    processes: int | None = None,
) -> Data:
    """Tokenise every file of the manifest, or open its tokens in the cache.

    Args:
        folder: where the files are.
        manifest: which files there are, with their hashes.
        encoder: the tokenizer and its template. The date that a template asks for is the dataset's own, so that the same data makes the
            same tokens on any day.
        recipe: its objective, `max_length`, `too_long` and `evaluation.share`.
        cache: where the tokens are kept.
        tick: called at least once a second, so that a request to stop is noticed; what it raises ends this.
        processes: how many tokenise; by default, by the dataset's size.

    Raises:
        DataFailed: a file is missing, a line is bad, or nothing is left to train on.
    """
    valid = tuple(index for index, file in enumerate(_files(folder, manifest)) if file.split == VALID)
    share = 0.0 if valid else recipe.evaluation.share
    completion = recipe.grpo.max_completion_length if recipe.objective == "grpo" else 0
    rules = Rules(recipe.max_length, recipe.too_long == "split", share, bool(manifest.facts.get(SKIP_BAD)), completion, valid)
    encoder = encoder.suited(recipe.objective, parse_timestamp(manifest.created))
    place = cache / key(manifest, encoder, rules)
    data = _opened(place, encoder.width, rules)
    if data is None:
        files = _files(folder, manifest)
        aside = place.with_name(f".{place.name}.{os.getpid()}")
        shutil.rmtree(aside, ignore_errors=True)
        try:
            facts = _write(aside, files, encoder, rules, tick, processes or _processes(files))
            _check(facts, manifest, recipe)
            shutil.rmtree(place, ignore_errors=True)
            aside.replace(place)
        except OSError as error:
            raise DataFailed(f"the tokens cannot be written: {error.strerror or error}", "llmlab launch --help") from error
        finally:
            shutil.rmtree(aside, ignore_errors=True)
        data = _opened(place, encoder.width, rules)
    if data is not None and recipe.objective == "kto":
        _check_labels(data, manifest)
    if data is None:
        raise DataFailed(f"the tokens in {place} cannot be read back", "llmlab launch --help")
    return data


def key(manifest: Manifest, encoder: Encoder, rules: Rules) -> str:
    """Cache key: a hash of everything that the tokens depend on."""
    files = [[file.path, file.size, file.sha256] for file in manifest.files]
    dependencies = [LAYOUT, files, asdict(rules), encoder.identity()]
    return blake2b(json.dumps(dependencies, sort_keys=True).encode(), digest_size=16).hexdigest()


def _opened(place: Path, width: int, rules: Rules) -> Data | None:
    """The tokens that an earlier start wrote, None unless they are whole."""
    try:
        written = json.loads((place / FACTS).read_text(encoding="utf-8"))
        facts = Facts(**written["facts"])
        if any(written["sizes"][side] != sizes(place / side) for side in (TRAIN, HELD_OUT)):
            return None
    except (OSError, ValueError, KeyError, TypeError):
        return None
    train, held_out = Tokens(place / TRAIN, width), Tokens(place / HELD_OUT, width)
    prompt_rows = tuple(grpo_prompts.read(place / side) if rules.completion else () for side in (TRAIN, HELD_OUT))
    if rules.completion and tuple(map(len, prompt_rows)) != (len(train), len(held_out)):
        return None
    return Data(train, held_out if len(held_out) else None, facts, rules.share, *prompt_rows)


def _write(aside: Path, files: list[DataPath], encoder: Encoder, rules: Rules, tick: Tick, processes: int) -> Facts:
    facts = Facts()
    read = [0] * len(files)
    with Writer(aside / TRAIN) as train, Writer(aside / HELD_OUT) as held_out:
        for file, numbered, block in worker_pool.run(worker_pool.sources(files), encoder, rules, processes, tick):
            first = 0 if numbered else read[file]
            if block.bad_at is not None:
                raise _bad_line(files[file].name, block.bad_at + (first if block.bad_at else 0), block)
            if block.control_at:
                block.facts.control_first = f"{files[file].name}:{first + block.control_at}"
            read[file] = first + block.lines
            facts.add(block.facts)
            train.append(block.train)
            held_out.append(block.held_out)
            for side, lines in ((TRAIN, block.train_prompts), (HELD_OUT, block.held_out_prompts)):
                if lines:
                    grpo_prompts.write(aside / side, grpo_prompts.placed(lines, files[file].name, first))
    for side in (TRAIN, HELD_OUT):
        grpo_prompts.close(aside / side)
    written: dict[str, Any] = {"facts": asdict(facts), "sizes": {side: sizes(aside / side) for side in (TRAIN, HELD_OUT)}}
    replace_text(aside / FACTS, json.dumps(written), durable=True)
    return facts


def _files(folder: Path, manifest: Manifest) -> list[DataPath]:
    """The manifest's data files, each of them there; those of the part `test` are none of training's."""
    parts = _parts(manifest)
    every = (DataPath(folder / file.path, file.path, file.size, parts.get(file.path, TRAIN)) for file in manifest.files)
    files = [file for file in every if file.suffix and file.split != TEST]
    if not files:
        raise DataFailed(f"the dataset {manifest.name} has no files", "llmlab validate data/")
    for file in files:
        if not file.path.is_file():
            raise DataFailed(f"{file.name} of the dataset {manifest.name} is missing on the machine", "llmlab upload data/")
    return [replace(file, size=file.path.stat().st_size) for file in files]


def _parts(manifest: Manifest) -> dict[str, str]:
    """Which part of the dataset each file belongs to, where the manifest has several parts."""
    splits = manifest.facts.get(SPLITS)
    return {name: split for split, part in splits.items() for name in part["files"]} if isinstance(splits, dict) else {}


def _processes(files: list[DataPath]) -> int:
    size = sum(file.size * (1 if file.suffix in LINES else 4) for file in files)  # a compressed file is some four times as much
    return 1 if size < WORTH_PROCESSES else min(os.cpu_count() or 1, MOST_PROCESSES)


def _bad_line(file: str, number: int, block: Block) -> DataFailed:
    hint = f"llmlab launch --set objective={block.objective}" if block.objective else "llmlab upload data/ --skip-bad"
    return DataFailed(f"{block.origin or f'{file}:{number}'}: {block.reason}", hint)


def _check_labels(data: Data, manifest: Manifest) -> None:
    """Check that there are good and bad answers to train on: all of one kind may be held out, or too long."""
    kinds = {bool(good) for good in data.train.good}
    if len(kinds) == 1:
        which = "good" if kinds.pop() else "bad"
        reason = f"every example of the dataset {manifest.name} that is left to train on is labelled {which}"
        raise DataFailed(
            f"{reason}, and objective kto learns from good and bad ones side by side", "llmlab launch --set evaluation.share=0"
        )


def _check(facts: Facts, manifest: Manifest, recipe: Recipe) -> None:
    """Check that something is left to train on."""
    if facts.examples > facts.held_out:
        return
    if facts.held_out:
        reason = f"all {facts.held_out} examples of the dataset {manifest.name} are held out for evaluation, and none is left to train on"
        raise DataFailed(reason, "llmlab launch --set evaluation.share=0")
    if facts.too_long:
        reason = f"every example is longer than {recipe.max_length} tokens (the longest has {facts.longest})"
        raise DataFailed(reason, f"llmlab launch --set max_length={facts.longest}")
    left_out = f", only {facts.bad} bad lines" if facts.bad else f", only {facts.empty} empty texts" if facts.empty else ""
    raise DataFailed(f"the dataset has no examples{left_out}", "llmlab validate data/")
