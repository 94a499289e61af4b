"""`python -m tests.families [--way WAY] [--only FAMILY ...]`: train each family one way; prints one document with counts."""

import argparse
import json
import sys
import tempfile
from pathlib import Path

from tests.families.trying import REFUSED, TRAINED, WAYS, WRONG, Ended, families, make, train


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.families", description=__doc__)
    parser.add_argument("--way", choices=WAYS, default="lora", help="how to train (default: lora)")
    parser.add_argument("--only", nargs="+", metavar="FAMILY", help="these alone, with their logs")
    chosen = parser.parse_args()
    _quiet()
    ends = [attempt(family, chosen.way) for family in chosen.only or families()]
    for end in ends:
        if chosen.only or end.kind == WRONG:
            sys.stderr.write(f"{end.family}: {end.kind} {end.words}\n{end.log if chosen.only else ''}")
    sys.stdout.write(json.dumps(counted(chosen.way, ends)) + "\n")
    return int(any(end.kind == WRONG for end in ends))


def attempt(family: str, way: str) -> Ended:
    with tempfile.TemporaryDirectory() as folder:
        try:
            return train(Path(folder, "work"), make(Path(folder, "model"), family), family, way)
        except Exception as error:  # noqa: BLE001 - a family that cannot be made is a row of the table that is wrong
            return Ended(family, WRONG, f"{type(error).__name__}: {error}")


def counted(way: str, ends: list[Ended]) -> dict[str, object]:
    """The counts, and by each reason for a refusal the families that it met."""
    refused = [end for end in ends if end.kind == REFUSED]
    return {
        "way": way,
        "families": len(ends),
        "trained": sum(end.kind == TRAINED for end in ends),
        "packed": sum(end.packed for end in ends),
        "refused": len(refused),
        "reasons": {words: [end.family for end in refused if end.words == words] for words in sorted({end.words for end in refused})},
        "wrong": sum(end.kind == WRONG for end in ends),
    }


def _quiet() -> None:
    import torch
    import transformers

    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    torch.set_num_threads(1)


if __name__ == "__main__":
    sys.exit(main())
