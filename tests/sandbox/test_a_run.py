"""One whole run on a machine that really runs the user data, from launch to its last word: what `make test` plays of them."""

import hashlib

from llmlab import contract
from llmlab.contract import EndReason, LogStream
from tests.sandbox.whole_runs import Lab


def test_a_run_completes(lab: Lab) -> None:
    """Launch → user data, data, image, agent, trainer → SUCCESS: weights, losses and logs without the instance, which ended itself."""
    run = lab.launch("save_steps=2")
    done = lab.marker(run)
    assert (done.reason, done.attempts) == (EndReason.COMPLETED, 1)
    assert [one["StateReason"]["Code"] for one in lab.instances(run)] == ["Client.InstanceInitiatedShutdown"]
    losses = lab.losses(run)
    assert (done.step, done.loss) == (len(losses), losses[len(losses)])
    assert lab.bucket.checkpoint(run) == done.step
    files = {file.path: file for file in done.files}
    adapter = lab.adapter(run)
    assert hashlib.sha256(adapter).hexdigest() == files[f"{contract.ADAPTER}/adapter_model.safetensors"].sha256
    assert f"step {done.step}/{done.step}" in lab.logged(run, LogStream.TRAINING)
    assert "attempt 1" in lab.logged(run, LogStream.SETUP)
