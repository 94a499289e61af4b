"""Datasets: find their files, turn each line into an `Example`, report what is wrong with it, and collect the facts to know before paying.

No torch and no AWS: the command line, the agent and the trainer read data through the same few functions. In reading order:
`files` (which files, by `suffixes` and `heads`), `lines` (bytes → rows, one at a time: `unpack`, `line`, `arrays`, `tables`, and
`transcripts`, of which `claude_code` and `codex` make a `conversation`), `forms` (THE table: row → `Example`; `chats`, `logs` and
`preferences` read the rows, `messages`, `content`, `calls`, `items` and `gemini` their messages, `keys` knows the other keys), `tally`,
`tokens` and `usual` (counts of some lines), `check` (every line, on all cores), `repeats` (requests that repeat each other),
`duplicates`, `report` (the facts) and `clean` (the file that is sent in place of the user's).
"""

from llmlab.dataset.files import find
from llmlab.dataset.formats import Example, Format, Kind
from llmlab.dataset.forms import detect, to_example
from llmlab.dataset.line import Line
from llmlab.dataset.lines import read
from llmlab.dataset.reasons import BadRow, LeftOut

__all__ = ["BadRow", "Example", "Format", "Kind", "LeftOut", "Line", "detect", "find", "read", "to_example"]
