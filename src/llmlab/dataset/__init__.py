"""Datasets: which files are one, how a line becomes an `Example`, what is wrong with it, and what there is to know before paying.

No torch and no AWS: the command line, the agent and the trainer read data through the same few functions. In reading order:
`files` (which files, by `suffixes` and `heads`), `lines` (bytes → rows, one at a time: `unpack`, `line`, `arrays`, `tables`, and
`transcripts`, of which `claude_code` and `codex` make a `conversation`), `forms` (THE table: row → `Example`; `chats`, `logs` and
`preferences` read them, `messages`, `content`, `calls`, `items` and `gemini` what they are made of, `keys` what stands beside), `tally`,
`tokens` and `usual` (what is counted of some lines), `check` (every line, on all cores), `repeats` (requests that say the same),
`duplicates`, `report` (the facts) and `clean` (what is sent instead of a file).
"""

from llmlab.dataset.files import find
from llmlab.dataset.formats import Example, Format, Kind
from llmlab.dataset.forms import detect, to_example
from llmlab.dataset.line import Line
from llmlab.dataset.lines import read
from llmlab.dataset.reasons import BadRow, LeftOut

__all__ = ["BadRow", "Example", "Format", "Kind", "LeftOut", "Line", "detect", "find", "read", "to_example"]
