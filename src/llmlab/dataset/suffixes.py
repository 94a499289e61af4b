"""How a file is written and packed, and which part of a dataset it is, by its name."""

import re

ROWS = (".jsonl", ".ndjson", ".json", ".csv", ".parquet", ".arrow")
PACKED = (".gz", ".zst", ".bz2", ".xz")
TABLES = frozenset({".parquet", ".arrow"})
"""Read by pyarrow, and packed in themselves."""
EXPECTED = "expected .jsonl, .ndjson, .json, .csv (also .gz, .zst, .bz2, .xz), .parquet or .arrow"
TRAIN, VALID, TEST = "train", "valid", "test"
SPLITS = {
    **dict.fromkeys(("train", "training"), TRAIN),
    **dict.fromkeys(("validation", "valid", "val", "dev"), VALID),
    **dict.fromkeys(("test", "testing", "eval", "evaluation"), TEST),
}
"""Words of a name that say which part of a dataset a file is, as the Hub takes them:
https://huggingface.co/docs/hub/datasets-file-names-and-splits."""
WORD = re.compile(r"[A-Za-z]+")


def suffix_of(name: str) -> str:
    """How a file's rows are written and packed, `.jsonl.gz`; "" for a name that is none of data."""
    lower = name.lower()
    packed = next((suffix for suffix in PACKED if lower.endswith(suffix)), "")
    rows = next((suffix for suffix in ROWS if lower.removesuffix(packed).endswith(suffix)), "")
    return "" if not rows or (packed and rows in TABLES) else rows + packed


def rows_of(suffix: str) -> str:
    """How the rows are written: `.jsonl` of `.jsonl.gz`."""
    return next((rows for rows in ROWS if suffix.startswith(rows) and suffix[len(rows) :] in ("", *PACKED)), "")


def split_of(name: str) -> str:
    """Which part of a dataset a file is: the last word of its path that says so, else training data."""
    stem = name[: len(name) - len(suffix_of(name))]
    return next((SPLITS[word] for word in reversed(WORD.findall(stem.lower())) if word in SPLITS), TRAIN)
