"""`doctor --gpu`: a training of minutes on one instance type, an ordinary run, so that it meets the same problems as a real one.

The trainer looks at each GPU, chooses number format and attention, tries packing and its loss head on them, and says so in its log before
it trains; then losses fall, or do not.
"""

import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from llmlab.aws.session import Aws
from llmlab.clock import Clock
from llmlab.contract import GPU_CHECK
from llmlab.dataset.rendering.model_files import ModelFiles
from llmlab.errors import LabError
from llmlab.ops import tiny_model
from llmlab.ops.at_hand import AtHand
from llmlab.ops.preflight import Wish
from llmlab.ops.upload import dataset_destination, model_destination, upload_dataset, upload_model
from llmlab.ops.validate import tried, validate
from llmlab.recipe import LAB_MODEL, Recipe

HOURS = 0.5
"""The most hours that the check may take, of which the start of the instance is the greater part."""


def recipe() -> Recipe:
    """The check's recipe: steps enough for a random model's loss to fall visibly, with checkpoints meanwhile."""
    return Recipe.model_validate(
        {
            "model": f"{LAB_MODEL}{GPU_CHECK}",
            "max_length": 512,
            "batch_size": 2,
            "accumulate": 4,
            "max_steps": 40,
            "save_steps": 20,
            "learning_rate": 0.01,
            "schedule": "constant",
            "lora": {"rank": 8, "alpha": 16},  # without dropout, so that the adapters are the fused ones
        }
    )


def put(aws: Aws, clock: Clock) -> int:
    """Upload the check's model and examples, unless the lab has them; returns the bytes that were sent.

    Raises:
        LabError: there is no lab, or AWS says no.
    """
    with tempfile.TemporaryDirectory(prefix="llmlab-") as folder:
        model, data = tiny_model.make(Path(folder))
        sent = upload_model(aws, clock, model, model_destination(aws, model, GPU_CHECK))
        report, trial = tried(data, validate(data), AtHand(ModelFiles(model), recipe().model, recipe().revision))
        also = upload_dataset(aws, clock, data, dataset_destination(aws, data, GPU_CHECK), report, trial=trial)
    return sent.sent_size + also.sent_size


def wish(instance_type: str, command: str) -> Wish:
    """The launch of the check: on demand, so that AWS does not interrupt it, and never resumed."""
    return Wish(recipe=recipe(), data=GPU_CHECK, instance_types=(instance_type,), max_hours=HOURS, resume=False, command=command)


@contextmanager
def hints(instance_type: str) -> Iterator[None]:
    """Errors raised inside hint at the check instead of `llmlab launch`, on the type that the hint names or on this one.

    Raises:
        LabError: the error, with that hint.
    """
    try:
        yield
    except LabError as error:
        if error.hint.startswith("llmlab launch"):
            named = re.search(r"--instance-type[ =]([^ ,]+)", error.hint)
            error.hint = f"llmlab doctor --gpu {named[1] if named else instance_type}"
        raise
