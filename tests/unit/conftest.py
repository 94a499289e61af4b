"""The lab of the watchdog's tests."""

from datetime import UTC, datetime

import pytest

from llmlab import contract
from llmlab.clock import ManualClock
from llmlab.contract import Manifest, Pool, Spec

from .watchdog_lab import KEYS, RUN, Lab


@pytest.fixture
def lab() -> Lab:
    """Two zones, one instance type, and the spec of a run that has no attempt yet."""
    pools = tuple(Pool("g6.xlarge", f"us-east-1{letter}", f"subnet-{letter}", 0.8, 0.3) for letter in "ab")
    lab = Lab(ManualClock(datetime(2026, 11, 23, 12, tzinfo=UTC)), pools)
    names = lab.aws.names
    spec = Spec(
        run=RUN, lab=names.lab, region=names.region, account=names.account, recipe={}, data=Manifest("d", (), ""), image="i", ami="ami-1",
        launch_template=names.launch_template, pools=pools, spot=True, max_hours=6, created=contract.build_timestamp(lab.clock.now()),
    )  # fmt: skip
    lab.write(KEYS.spec, spec)
    return lab
