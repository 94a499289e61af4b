"""What a live check stands on: a lab name of its own, an account, and whether it is a sandbox's."""

import json
import re
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from llmlab.aws.session import Aws
from llmlab.clock import Clock, SystemClock
from llmlab.sandbox.server import Sandbox

LAB = "llmlab-live"
"""No lab that anybody works with has this name: everything under it is deleted, before and after."""
PROBE = "llmlab-live-probe"
SECRET = (
    (re.compile(r"\b(?:AKIA|ASIA)[A-Z0-9]{12,}\b"), "KEY"),
    (re.compile(r"\b\d{12}\b"), "ACCOUNT"),
    (re.compile(r"\b(?:i|vol|vpc|subnet|sg|rtb|igw|vpce|eni|lt|fleet|sir|snap)-[0-9a-f-]{8,}\b"), "ID"),
    (re.compile(r"[\w.+-]+@[\w-]+\.[\w.]+"), "ADDRESS"),
    (re.compile(r"\b(?:[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12})\b"), "REQUEST"),
    (re.compile(r"(?i)\b(?:hf_\w+|(?:secret|token|password)\s*[:=]\s*\S+)"), "SECRET"),
)
"""What a report that is sent to somebody must not hold, and what stands in its place. Image ids are AWS's own."""


def redacted(text: str) -> str:
    """Words without anything that names the account or opens it."""
    for pattern, instead in SECRET:
        text = pattern.sub(instead, text)
    return text


@dataclass
class Ground:
    """`folder` is where the project of the lab lies; it is made anew."""

    aws: Aws
    folder: Path
    clock: Clock = field(default_factory=SystemClock)
    sandbox: Sandbox | None = None

    def llmlab(self, *line: str, codes: Sequence[int] = (0,)) -> str:
        """One command as a user types it; its standard output.

        Raises:
            RuntimeError: it ended with another code, with what it said.
        """
        command = [sys.executable, "-m", "llmlab", *line]
        result = subprocess.run(command, cwd=self.folder, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
        if result.returncode not in codes:
            raise RuntimeError(f"llmlab {' '.join(line)} ended with {result.returncode}: {result.stderr.strip()[-800:]}")
        return result.stdout

    def ask(self, *line: str) -> Any:
        """One command's JSON."""
        return json.loads(self.llmlab(*line, "--json"))

    def ask_any(self, *line: str) -> Any:
        """One command's JSON, be it that it found something wrong."""
        return json.loads(self.llmlab(*line, "--json", codes=(0, 1)))
