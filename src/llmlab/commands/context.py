"""The context that every command gets as `ctx.obj`: settings, AWS account, clock and output, each created at its first use."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from llmlab.clock import Clock, SystemClock
from llmlab.errors import LabError
from llmlab.ui import Ui

if TYPE_CHECKING:
    from llmlab.aws.session import Aws
    from llmlab.config import Loaded, Settings


@dataclass
class CliContext:
    """Settings, account, clock and output of one command line. `flags` holds the global options: `profile`, `region`."""

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

    def nowhere(self) -> LabError | None:
        """The error when credentials or the region are missing, None when calls to AWS can be tried."""
        from llmlab.aws.session import BadCredentials, NoRegion

        try:
            self.aws  # noqa: B018 - created at its first use
        except (BadCredentials, NoRegion) as error:
            return error
        return None

    def account(self) -> "tuple[Aws | None, LabError | None]":
        """The AWS account, or the error why there is none: for commands that also work without one."""
        from llmlab.aws.session import BadCredentials, NoRegion

        try:
            self.aws.account  # noqa: B018 - asks who it is
        except (BadCredentials, NoRegion) as error:
            return None, error
        return self.aws, None

    @cached_property
    def aws(self) -> "Aws":
        from llmlab.aws.session import Aws

        trace = (lambda call: self.ui.say(f"aws {call}", "dim")) if self.ui.verbosity > 1 else None
        return Aws(self.settings.region, self.settings.profile, lab=self.settings.lab, before_call=trace)
