"""What a machine's disk costs an hour: its size, and its throughput beyond what every gp3 volume has."""

import pytest

from llmlab.aws import instance_overhead


@pytest.mark.parametrize(("mb_per_second", "month"), [(125, 16.0), (500, 31.0), (750, 41.0)])
def test_throughput_beyond_the_free_one_is_paid_for(mb_per_second: int, month: float) -> None:
    disk, address = instance_overhead.shipped(200, mb_per_second)
    assert (disk.what, address.what) == ("disk", "address")
    assert disk.hourly == pytest.approx(month / 730, abs=1e-6)
