"""The lab at a glance: which image it would run, this month's money, and its runs; at most ten calls for a thousand runs."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime

from llmlab.aws import costs, ecr_images, subnets_by_zone
from llmlab.aws.costs import BudgetSpending
from llmlab.aws.ecr_images import Image
from llmlab.aws.session import Aws, AwsError
from llmlab.ops.run_status import Run
from llmlab.ops.runs import listing


@dataclass(frozen=True)
class Overview:
    """`image` and `budget` are None where there is none, or where the user may not see it.

    `bootstrapped` is False when nothing is left of the lab but its results: before bootstrap it is the bucket that is missing, an error.
    """

    lab: str
    account: str
    region: str
    bootstrapped: bool
    image: Image | None
    budget: BudgetSpending | None
    runs: tuple[Run, ...]
    total: int
    live: int


def overview(aws: Aws, now: datetime, *, every: bool = False) -> Overview:
    """The lab and its newest runs, or all of them.

    Raises:
        LabError: there is no lab.
    """
    account = aws.account
    with ThreadPoolExecutor(3) as pool:
        bootstrapped_future = pool.submit(_is_bootstrapped, aws)
        image_future = pool.submit(_image, aws)
        budget_future = pool.submit(_budget, aws)
        listed = listing(aws, now, every=every)
    return Overview(
        lab=aws.lab,
        account=account,
        region=aws.region,
        bootstrapped=bootstrapped_future.result(),
        image=image_future.result(),
        budget=budget_future.result(),
        runs=listed.runs,
        total=listed.total,
        live=listed.live,
    )


def _is_bootstrapped(aws: Aws) -> bool:
    """Whether the lab's launch template exists; True where the user may not ask."""
    try:
        return subnets_by_zone.has_launch_template(aws)
    except AwsError:
        return True


def _image(aws: Aws) -> Image | None:
    try:
        return ecr_images.find(aws)
    except AwsError:
        return None


def _budget(aws: Aws) -> BudgetSpending | None:
    try:
        return costs.budget(aws)
    except AwsError:
        return None
