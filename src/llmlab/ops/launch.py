"""Launch a run: preflight → spec → one attempt, and nothing half-done when that fails."""

from dataclasses import dataclass
from secrets import choice

from llmlab import __version__, contract
from llmlab.aws import documents, run_names
from llmlab.aws.session import Aws
from llmlab.clock import Clock
from llmlab.contract import Attempt, RunKeys, Spec
from llmlab.errors import Interrupted
from llmlab.lifecycle import billing
from llmlab.ops import naming
from llmlab.ops.preflight import LaunchPlan
from llmlab.ops.start import LeftBehind, Patience, Say, start

ALPHABET = "abcdefghjkmnpqrstuvwxyz23456789"
"""Characters of a run id, without the letters and digits that are mistaken for each other."""


@dataclass(frozen=True)
class Launch:
    """A run that has an instance.

    In US dollars, disk and address included: `full_cost` is all its hours at the price of this pool, `most_cost` the same at the dearest
    pool an interruption may move it to.
    """

    run: str
    name: str | None
    instance: str
    instance_type: str
    zone: str
    spot: bool
    price: float
    approximate: bool
    max_hours: float
    full_cost: float
    most_cost: float
    deadline: int
    image: str
    data: str


def launch(aws: Aws, plan: LaunchPlan, clock: Clock, say: Say, *, wait_minutes: float = 0) -> Launch:
    """Start a run that preflight has passed.

    Raises:
        NoCapacity: no pool gave an instance.
        LabError: AWS refused. In both cases nothing is left of the run.
        Interrupted: Ctrl-C; nothing is left.
    """
    spec = build_spec(aws, plan, clock)
    attempt = first_attempt(spec, clock)
    key = RunKeys(spec.run).spec
    try:
        documents.write_once(aws, aws.names.outputs_bucket, key, spec, clock)
        if spec.name:
            naming.claim(aws, spec.name, spec.run, clock)
        started = start(aws, spec, attempt, clock, say, Patience(plan.fallback_on_demand, wait_minutes))
    except BaseException as error:
        if not isinstance(error, LeftBehind):
            documents.delete(aws, aws.names.outputs_bucket, key)
            if spec.name:
                run_names.release(aws, spec.name, spec.run)
        if isinstance(error, KeyboardInterrupt):
            raise Interrupted("interrupted; the run was not started and nothing is left of it", "llmlab launch") from error
        raise
    full_cost = min(billing.hourly(spec.charges, started.price) * spec.max_hours, spec.max_cost or float("inf"))
    return Launch(
        run=spec.run,
        name=spec.name or None,
        instance=started.instance,
        instance_type=started.instance_type,
        zone=started.zone,
        spot=started.spot,
        price=started.price,
        approximate=not started.spot and any(pool.approximate for pool in spec.pools if pool.instance_type == started.instance_type),
        max_hours=spec.max_hours,
        full_cost=full_cost,
        most_cost=plan.most_cost if started.spot and spec.resume else full_cost,
        deadline=started.deadline,
        image=spec.image,
        data=spec.data.name,
    )


def build_spec(aws: Aws, plan: LaunchPlan, clock: Clock) -> Spec:
    """The spec of a planned run, with a new run id."""
    wish = plan.request
    return Spec(
        run=contract.build_run_id(clock.now(), "".join(choice(ALPHABET) for _ in range(4))),
        lab=aws.lab,
        region=aws.region,
        account=aws.account,
        recipe=wish.recipe.model_dump(mode="json"),
        data=plan.data,
        image=plan.image.reference,
        ami=plan.ami,
        launch_template=aws.names.launch_template,
        pools=plan.pools,
        spot=plan.spot,
        max_hours=wish.max_hours,
        created=contract.build_timestamp(clock.now()),
        model=plan.model,
        max_cost=wish.max_cost,
        fallback_on_demand=plan.fallback_on_demand,
        auto_shutdown=wish.auto_shutdown,
        resume=wish.resume,
        idle_minutes=wish.idle_minutes,
        fallback_interruptions=wish.fallback_interruptions,
        fallback_minutes=wish.fallback_minutes,
        wait_hours=wish.wait_hours,
        llmlab_version=__version__,
        preferred=plan.preferred,
        charges=plan.charges,
        command=wish.command,
        training_network=plan.training_network,
        hub_bytes=plan.hub_bytes,
        agent_image=plan.image.agent,
        name=wish.name or "",
    )


def first_attempt(spec: Spec, clock: Clock) -> Attempt:
    """The claim of attempt 1, before its instance is known."""
    return Attempt(
        run=spec.run,
        number=1,
        claimed=contract.build_timestamp(clock.now()),
        deadline=billing.deadline_of(clock.now(), spec.max_hours),
        spot=spec.spot,
        by="launch",
        max_hours=spec.max_hours,
        max_cost=spec.max_cost,
        command=spec.command,
    )
