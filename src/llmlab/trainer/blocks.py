"""A dataset's lines to blocks of tokens, in order, on all cores, in memory that does not grow with the data.

Files of plain JSON lines are cut at newlines into parts that processes read by themselves; lines of compressed and Parquet files are read
here and handed out. Blocks come back in the order of the data, so that the result is the same whatever the number of processes. Small
datasets are tokenised in this process, where the tokenizer's own threads use the other cores: starting a process takes seconds.
"""

import multiprocessing
import os
import signal
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor, TimeoutError as NotYet
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from hashlib import blake2b
from itertools import batched, chain
from typing import Any

import orjson

from llmlab import dataset
from llmlab.dataset import BadRow, Example, Kind, Line
from llmlab.dataset.check import Part, lines_of
from llmlab.dataset.files import DataPath
from llmlab.trainer import cutting
from llmlab.trainer.endings import Failed
from llmlab.trainer.tokens import Draft, Encoder, OtherObjective, Sequence
