"""`make live`: an hour on the account that the credentials lead to, for less than two dollars, and a report of what it answered.

Everything is under a lab name of its own, and gone afterwards. `llmlab sandbox exec -- make live` is the rehearsal.
"""

import argparse
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from llmlab import __version__
from llmlab.aws.session import Aws
from llmlab.sandbox.server import Sandbox
from tests.live.ground import LAB, Ground, redacted
from tests.live.journey import DOLLARS, MOST_DOLLARS, Journey
from tests.live.probes import PROBES, answer

REGION = "us-east-1"


class Report:
    """Markdown that grows with every answer, so that what came before a crash is there."""

    def __init__(self, path: Path) -> None:
        self.path, self.failed = path, 0
        path.write_text(f"# llmlab {__version__} on an account\n", encoding="utf-8")

    def add(self, text: str) -> None:
        with self.path.open("a", encoding="utf-8") as stream:
            stream.write(redacted(text) + "\n")
        sys.stderr.write(redacted(text) + "\n")

    def step(self, ground: Ground, act: Callable[[], str]) -> bool:
        """One step, timed; whatever goes wrong is told and not raised."""
        began = ground.clock.now()
        try:
            told, good = act(), True
        except Exception as error:  # noqa: BLE001 - the report is there to tell it
            told, good = f"{type(error).__name__}: {error}", False
        self.failed += not good
        seconds = (ground.clock.now() - began).total_seconds()
        self.add(f"- {'ok' if good else 'FAILED'} ({seconds:.0f} s) **{act.__doc__}**: {told}")
        return good


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.live", description=__doc__)
    parser.add_argument("--report", type=Path, default=Path("live-report.md"))
    parser.add_argument("--region", default=os.environ.get("AWS_REGION", REGION))
    parser.add_argument("--probes", action="store_true", help="only the questions: minutes, and cents")
    asked = parser.parse_args()
    assert 3 * DOLLARS < MOST_DOLLARS
    report = Report(asked.report.absolute())
    os.environ.update(LLMLAB_LAB=LAB, LLMLAB_REGION=asked.region)
    with tempfile.TemporaryDirectory(prefix="llmlab-live-") as folder:
        ground = Ground(Aws(asked.region, lab=LAB), Path(folder), sandbox=Sandbox.find())
        if not asked.probes:
            report.add("\n## The hour\n")
            journey = Journey(ground)
            try:
                for act in journey.steps():
                    if not report.step(ground, act) and act in (journey.clean, journey.bootstrap, journey.stock):
                        break
            finally:
                report.step(ground, journey.teardown)
        report.add("\n## What no document says\n")
        for probe in PROBES:
            report.add(f"- {probe.question}\n  {answer(probe, ground)}")
    sys.stderr.write(f"\n{report.path}: {report.failed} steps failed; it names neither the account nor a secret, and can be sent\n")
    return 1 if report.failed else 0


if __name__ == "__main__":
    sys.exit(main())
