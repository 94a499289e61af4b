"""`python -m tests.fuzz TARGET|SUBJECT --seconds N`: look for inputs that break a law, led by the branches they reach.

atheris instruments llmlab's modules as they are loaded, so it is imported first. New inputs that reach something new go to a folder of
their own, never into the corpus; an input that breaks a law is written to `--crashes`, and the exit code is then not 0.
"""

import argparse
import sys
import tempfile
from pathlib import Path

import atheris

from tests.fuzz.laws import MEBIBYTES, SECONDS_PER_INPUT

CORPUS = Path(__file__).parent / "corpus"
LONGEST = 8192
"""Bytes of an input: enough for every document and a few rows."""

MOST_TIMES, ALWAYS, BLOCK = 100, 64 << 10, 1 << 10
"""`dataset.unpack`'s limits during a search: a bomb is met as often and costs no seconds, and rows lie across the edges of blocks."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("target")
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--crashes", type=Path, default=Path.cwd())
    options = parser.parse_args()
    with atheris.instrument_imports(include=["llmlab"]):
        from llmlab.dataset import unpack
        from tests.fuzz.targets import SUBJECTS, TARGETS, any_of
    unpack.MOST_TIMES, unpack.ALWAYS, unpack.BLOCK = MOST_TIMES, ALWAYS, BLOCK
    if options.target not in TARGETS.keys() | SUBJECTS.keys():
        parser.error(f"there is no target {options.target}, only {', '.join([*SUBJECTS, *TARGETS])}")
    found = Path(tempfile.mkdtemp(prefix=f"fuzz-{options.target}-"))
    target, corpus = TARGETS.get(options.target), CORPUS / options.target
    if target is None:
        names, target = any_of(options.target)
        corpus = gathered(names, found)
    arguments = [
        sys.argv[0], str(found), str(corpus), f"-max_total_time={options.seconds}", f"-timeout={SECONDS_PER_INPUT}",
        f"-rss_limit_mb={MEBIBYTES}", f"-max_len={LONGEST}", f"-artifact_prefix={options.crashes}/{options.target}-",
        "-print_final_stats=1", "-verbosity=1", "-entropic_scale_per_exec_time=1",  # what takes long, such as a bomb, is bent less often
    ]  # fmt: skip
    atheris.Setup(arguments, target)
    atheris.Fuzz()


def gathered(names: list[str], folder: Path) -> Path:
    """The corpora of several targets in one folder, each input behind the byte that stands for its target."""
    for index, name in enumerate(names):
        for path in sorted((CORPUS / name).iterdir()):
            (folder / f"{name}-{path.name}").write_bytes(bytes([index]) + path.read_bytes())
    return folder


if __name__ == "__main__":
    main()
