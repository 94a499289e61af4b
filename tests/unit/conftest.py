"""The lab of the watchdog's tests, and a time zone that is nobody's default."""

import os
import time
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from llmlab import contract
from llmlab.clock import ManualClock
from llmlab.contract import Manifest, Pool, Spec
from tests.unit.watchdog.lab import KEYS, RUN, Lab


@pytest.fixture(scope="session", autouse=True)
def _far_from_utc() -> Iterator[None]:
    """Half a day ahead of UTC, and with a summer: who takes local time for UTC, or the other way round, is off by a whole night."""
    before = os.environ.get("TZ")
    os.environ["TZ"] = "Pacific/Auckland"
    time.tzset()
    yield
    if before is None:
        del os.environ["TZ"]
    else:
        os.environ["TZ"] = before
    time.tzset()


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
