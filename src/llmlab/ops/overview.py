"""The lab at a glance: which image it would run, this month's money, and its runs; at most ten calls for a thousand runs."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime

from llmlab.aws import costs, images
from llmlab.aws.costs import Budget
from llmlab.aws.images import Image
from llmlab.aws.session import Aws, AwsError
from llmlab.ops.run_state import Run
from llmlab.ops.runs import listing


@dataclass(frozen=True)
class Overview:
    """`image` and `budget` are None where there is none, or where the user may not see it."""

    lab: str
    account: str
    region: str
    image: Image | None
    budget: Budget | None
    runs: tuple[Run, ...]
    total: int
    live: int


def overview(aws: Aws, now: datetime, *, every: bool = False) -> Overview:
    """The lab and its newest runs, or all of them.

    Raises:
        LabError: the lab is not there.
    """
    account = aws.account
    with ThreadPoolExecutor(3) as pool:
        asked_image = pool.submit(_image, aws)
        asked_budget = pool.submit(_budget, aws)
        found = listing(aws, now, every=every)
        return Overview(aws.lab, account, aws.region, asked_image.result(), asked_budget.result(), found.runs, found.total, found.live)


def _image(aws: Aws) -> Image | None:
    try:
        return images.find(aws)
    except AwsError:
        return None


def _budget(aws: Aws) -> Budget | None:
    try:
        return costs.budget(aws)
    except AwsError:
        return None
