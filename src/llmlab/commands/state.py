"""What every command is handed as `ctx.obj`: settings, account, clock and voice, each made when first asked for."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from llmlab.clock import Clock, SystemClock
from llmlab.ui import Ui

if TYPE_CHECKING:
    from llmlab.aws.session import Aws
    from llmlab.config import Loaded, Settings


@dataclass
class State:
    """`flags` holds the global options that were given: `profile`, `region`."""

    ui: Ui
    flags: dict[str, str] = field(default_factory=dict)
    file: Path | None = None
    environment: Mapping[str, str] = field(default_factory=lambda: os.environ)
    clock: Clock = field(default_factory=SystemClock)

    @cached_property
    def loaded(self) -> "Loaded":
        from llmlab.config import load

        return load(self.flags, self.environment, self.file)

    @property
    def settings(self) -> "Settings":
        return self.loaded.settings

    @cached_property
    def aws(self) -> "Aws":
        from llmlab.aws.session import Aws

        trace = (lambda call: self.ui.say(f"aws {call}", "dim")) if self.ui.verbosity > 1 else None
        return Aws(self.settings.region, self.settings.profile, lab=self.settings.lab, before_call=trace)
