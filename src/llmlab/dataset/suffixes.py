"""The format, the compression and the split of a file, by its name."""

import re

ROWS = (".jsonl", ".ndjson", ".json", ".csv", ".parquet", ".arrow")
PACKED = (".gz", ".zst", ".bz2", ".xz")
TABLES = frozenset({".parquet", ".arrow"})
"""Formats that pyarrow reads, and that compress their own content."""
EXPECTED = "expected .jsonl, .ndjson, .json, .csv (also .gz, .zst, .bz2, .xz), .parquet or .arrow"
TRAIN, VALID, TEST = "train", "valid", "test"
SPLITS = {
    **dict.fromkeys(("train", "training"), TRAIN),
    **dict.fromkeys(("validation", "valid", "val", "dev"), VALID),
    **dict.fromkeys(("test", "testing", "eval", "evaluation"), TEST),
}
"""The split that each word of a file's name stands for, as the Hub reads them:
https://huggingface.co/docs/hub/datasets-file-names-and-splits."""
WORD = re.compile(r"[A-Za-z]+")


def suffix_of(name: str) -> str:
    """The suffix of a file's format and compression, such as `.jsonl.gz`; "" for a name that is not a data file's."""
    lower = name.lower()
    packed = next((suffix for suffix in PACKED if lower.endswith(suffix)), "")
    rows = next((suffix for suffix in ROWS if lower.removesuffix(packed).endswith(suffix)), "")
    return "" if not rows or (packed and rows in TABLES) else rows + packed


def rows_of(suffix: str) -> str:
    """The suffix of the format without the compression: `.jsonl` of `.jsonl.gz`."""
    return next((rows for rows in ROWS if suffix.startswith(rows) and suffix[len(rows) :] in ("", *PACKED)), "")


def split_of(name: str) -> str:
    """The split of a file: by the last word of its path that names one, else training data."""
    stem = name[: len(name) - len(suffix_of(name))]
    return next((SPLITS[word] for word in reversed(WORD.findall(stem.lower())) if word in SPLITS), TRAIN)
