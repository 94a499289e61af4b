"""`llmlab doctor`: checks that account and lab are ready for a run, each failure with the command that mends it. Only reads."""

import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from itertools import chain

from llmlab import stack
from llmlab.aws import amis, ecr_images, idle_cost, leftovers, prices, quotas
from llmlab.aws.dashboard import Dashboard
from llmlab.aws.permissions import denied_actions
from llmlab.aws.session import OPERATOR_POLICY, Aws, BadCredentials, NoRegion, NotFound
from llmlab.aws.sns_topic import Subscription, Topic
from llmlab.aws.subnets import zones_offering
from llmlab.clock import Clock
from llmlab.config import Settings
from llmlab.errors import LabError
from llmlab.infra.plan import plan
from llmlab.lifecycle import instances
from llmlab.lifecycle.billing import dollars
from llmlab.ops import gates, quota_increases
from llmlab.ops.checkup import Check, Checkup, Health, Patient

__all__ = ["Check", "Checkup", "Health", "doctor"]
PATCHED_UNTIL = {
    "22.04": datetime(2027, 4, 30, tzinfo=UTC),
    "24.04": datetime(2029, 4, 30, tzinfo=UTC),
    "26.04": datetime(2031, 4, 30, tzinfo=UTC),
}
"""When AWS stops patching the Deep Learning AMI of each Ubuntu.
https://docs.aws.amazon.com/dlami/latest/devguide/support-policy.html"""
WARN_DAYS = 180
NO_EMAIL = Check("e-mail", Health.WARNING, "nobody hears of alarms and the budget", "llmlab bootstrap --email YOU@EXAMPLE.ORG")


def doctor(settings: Settings, aws: Aws, clock: Clock) -> Checkup:
    """Run every check, in parallel. A check that lacks a permission says so instead of failing the others.

    Without credentials, only the checks that need none.
    """
    patient = Patient(settings, aws, clock)
    try:
        aws.names  # noqa: B018 - credentials come first, and are an error when bad
    except BadCredentials as error:
        if not gates.is_closed(aws):
            return without_account(settings, error)
        return Checkup(aws.lab, aws.region, (gates.closed(aws.region),))
    with ThreadPoolExecutor(len(CHECKS)) as pool:
        answers = list(pool.map(lambda check: _answer(check, patient), CHECKS))
    return Checkup(aws.lab, aws.region, tuple(chain.from_iterable(answers)))


def without_account(settings: Settings, why: LabError) -> Checkup:
    """The checks that need no account, where none can be asked; `why` is the error to mend first."""
    name = "region" if isinstance(why, NoRegion) else "credentials"
    nobody = replace(NO_EMAIL, hint=f"{NO_EMAIL.hint} --region us-east-1") if name == "region" else NO_EMAIL
    email = Check("e-mail", Health.OK, settings.email) if settings.email else nobody
    rest = ", ".join(_name(check) for check in CHECKS if check not in {_credentials, _email, _session_manager})
    unseen = Check("account", Health.UNKNOWN, f"not looked at before that is mended: {rest}")
    return Checkup(
        settings.lab, settings.region or "", (Check(name, Health.FAILED, why.message, why.hint), email, *_session_manager(), unseen)
    )


def _answer(check: Callable[[Patient], Iterator[Check]], patient: Patient) -> list[Check]:
    try:
        return list(check(patient))
    except LabError as error:
        return [Check(_name(check), Health.FAILED, error.message, error.hint)]


def _name(check: Callable[[Patient], Iterator[Check]]) -> str:
    return check.__name__.strip("_").replace("_", " ")


def _credentials(patient: Patient) -> Iterator[Check]:
    who = patient.aws.client("sts").get_caller_identity()["Arn"]
    yield Check("credentials", Health.OK, f"{who} in {patient.aws.region}")


def _permissions(patient: Patient) -> Iterator[Check]:
    denied = denied_actions(patient.aws, patient.settings.permissions_boundary)
    if denied is None:
        yield Check("permissions", Health.UNKNOWN, "these credentials may not simulate policies, so what they may do shows when it is done")
    elif denied:
        yield Check("permissions", Health.FAILED, f"not allowed: {', '.join(denied)}", OPERATOR_POLICY)
    else:
        yield Check("permissions", Health.OK, "everything that bootstrap, launch and teardown call")


def _resources(patient: Patient) -> Iterator[Check]:
    unwanted = stack.unwanted(patient.settings, patient.aws, patient.clock)
    planned = plan(stack.build(patient.settings, patient.aws, patient.clock), unwanted=unwanted)
    changes = [step.resource.key for step in planned.changes]
    if len(changes) == len(planned.steps) or not any(step.resource.kind == "function" and not step.differences for step in planned.steps):
        yield Check("resources", Health.FAILED, f"{len(changes)} of {len(planned.steps)} are missing or differ", "llmlab bootstrap")
    elif changes:
        few = ", ".join(changes[:3]) + (", …" if len(changes) > 3 else "")
        yield Check("resources", Health.FAILED, f"{len(changes)} of {len(planned.steps)} differ: {few}", "llmlab bootstrap")
    else:
        yield Check("resources", Health.OK, f"all {len(planned.steps)} as they should be")


def _gpus(patient: Patient) -> Iterator[Check]:
    wanted = patient.settings.instance_types
    zones = zones_offering(patient.aws, wanted)
    yield Check("GPUs", Health.OK, f"{', '.join(wanted) or 'usable types'} in {len(zones)} zones of {patient.aws.region}")


def _quotas(patient: Patient) -> Iterator[Check]:
    """All vCPU quotas; those of the wanted instance types must be large enough for one instance."""
    least = quota_increases.least(patient.aws, patient.settings)
    for (family, spot), quota in sorted(quotas.every(patient.aws).items()):
        vcpus = quota_increases.under(quota, least)
        name = f"quota {'spot' if spot else 'on-demand'} {family}"
        if quota.limit is None:
            yield Check(name, Health.UNKNOWN, "AWS does not tell")
            continue
        says = f"{quota.used} of {quota.limit:g} vCPUs in use"
        if not vcpus:
            yield Check(name, Health.OK, f"{says}, and none is needed")
        elif quota.limit >= vcpus:
            yield Check(name, Health.OK, says)
        else:
            yield Check(name, Health.FAILED, f"{says}, an instance has {vcpus}", "llmlab doctor --request-quota")


def _image(patient: Patient) -> Iterator[Check]:
    try:
        image = ecr_images.find(patient.aws)
    except NotFound:
        yield Check("image", Health.FAILED, "there is no image repository yet", "llmlab bootstrap")
        return
    if image is None:
        yield Check("image", Health.FAILED, f"{patient.aws.names.repository} is empty", "llmlab image push")
    else:
        yield Check("image", Health.OK, f"{', '.join(image.tags)}, pushed {image.pushed:%Y-%m-%d}, {image.size / 1e6:,.0f} MB")


def _email(patient: Patient) -> Iterator[Check]:
    email = patient.settings.email
    if not email:
        yield NO_EMAIL
        return
    subscription = Subscription(topic=Topic(aws=patient.aws), email=email, aws=patient.aws)
    topic = subscription.topic.arn
    again = f"aws sns subscribe --topic-arn {topic} --protocol email --notification-endpoint {email} --region {patient.aws.region}"
    if subscription.find() is None:
        yield Check("e-mail", Health.FAILED, f"{email} is not subscribed", "llmlab bootstrap")
    elif subscription.confirmed:
        yield Check("e-mail", Health.OK, f"{email} is confirmed")
    else:
        yield Check("e-mail", Health.FAILED, f"{email} has not confirmed; the link is in a mail from AWS, this sends it again", again)


def _ami(patient: Patient) -> Iterator[Check]:
    settings = patient.settings
    if settings.ami:
        yield Check("AMI", Health.WARNING, f"{settings.ami} is pinned and gets no patches", "llmlab config")
        return
    newest, until = amis.newest(patient.aws, settings.ubuntu), PATCHED_UNTIL[settings.ubuntu]
    days = (until - patient.clock.now()).days
    says = f"Ubuntu {settings.ubuntu}, {newest}, patched until {until:%Y-%m-%d}"
    if days > WARN_DAYS:
        yield Check("AMI", Health.OK, says)
    else:
        health = Health.WARNING if days >= 0 else Health.FAILED
        yield Check("AMI", health, f"{says} ({days} days)", "LLMLAB_UBUNTU=24.04 llmlab bootstrap")


def _leftovers(patient: Patient) -> Iterator[Check]:
    """Instances past their deadline, and resources that belong to no instance, each with what it costs."""
    now = patient.clock.now()
    over = [
        instance
        for instance in instances.find(patient.aws.ec2, patient.aws.names)
        if instance.alive and (instance.deadline_tag is None or instance.deadline_tag < now.timestamp())
    ]
    hourly, _ = prices.on_demand(patient.aws, sorted({instance.instance_type for instance in over}))
    for instance in over:
        why = "has no deadline" if instance.deadline_tag is None else "is past its deadline"
        price = f", at most {dollars(hourly[instance.instance_type].dollars)} an hour" if instance.instance_type in hourly else ""
        mend = f"aws ec2 terminate-instances --instance-ids {instance.id} --region {patient.aws.region}"
        yield Check("leftovers", Health.FAILED, f"instance {instance.id} {why}{price}", mend)
    idle = leftovers.idle(patient.aws)
    for (_, left), cost in zip(idle, idle_cost.of(patient.aws, idle, now).items, strict=True):
        price = f", about {dollars(cost.without_free_tier)} a month" if cost.without_free_tier else ""
        yield Check("leftovers", Health.FAILED, f"{left.kind} {left.id} belongs to no machine{price}", left.command)
    if not over and not idle:
        yield Check("leftovers", Health.OK, "no machine past its deadline, no idle disk, snapshot, address or network interface")


def _idle_cost(patient: Patient) -> Iterator[Check]:
    """What the lab costs while nothing runs."""
    costs = idle_cost.read(patient.aws, stack.RESOURCES, patient.clock.now())
    paid = any(resource.kind == Dashboard.kind and resource.monthly for resource in costs.items)
    mend = "LLMLAB_DASHBOARD=false llmlab bootstrap" if paid else ""
    yield Check("idle cost", Health.WARNING if paid else Health.OK, idle_cost.words(costs), mend)


def _session_manager(_patient: Patient | None = None) -> Iterator[Check]:
    if shutil.which("session-manager-plugin"):
        yield Check("connect", Health.OK, "the Session Manager plugin is installed")
    else:
        page = "https://docs.aws.amazon.com/systems-manager/latest/userguide/session-manager-working-with-install-plugin.html"
        yield Check("connect", Health.WARNING, f"llmlab connect needs the Session Manager plugin: {page}")


CHECKS = (
    _credentials, _permissions, gates.plan, _resources, gates.watchdog, gates.spot_role, gates.disk_key, _gpus, _quotas, _image, _email,
    gates.cost_tags, _ami, _leftovers, _idle_cost, _session_manager,
)  # fmt: skip
