"""Every policy of the lab, as a pure function of its names: least privilege, and the source of `docs/permissions.md`.

Sources: EC2's rules for tagging on creation (`aws:RequestTag`, `ec2:CreateAction`) and for launch templates are in the service
authorization reference; Session Manager needs only the five actions of `_session_manager`, where the managed policy would add
every parameter of the account.
"""

from collections.abc import Mapping

from llmlab.aws.policies_documents import Policy, actions, allow, allow_anywhere, document, images, request_tags, resource_tags
from llmlab.contract import ENDED, FAILED_EVENTS, HF_TOKEN, RUNS, WEBHOOK_URL, LogStream, Names, RunKeys

GITHUB = "token.actions.githubusercontent.com"


# ---------------------------------------------------------------- trust


def trust_service(service: str, **condition: Mapping[str, str]) -> Policy:
    """One AWS service may assume the role. EC2 and Lambda assume only roles of their own account, which somebody there has passed."""
    statement: Policy = {"Effect": "Allow", "Principal": {"Service": service}, "Action": "sts:AssumeRole"}
    if condition:
        statement["Condition"] = condition
    return document([statement])


def trust_scheduler(names: Names) -> Policy:
    """Scheduler works for every account; this role is for the lab's own schedules.

    https://docs.aws.amazon.com/scheduler/latest/UserGuide/cross-service-confused-deputy-prevention.html
    """
    source = {"aws:SourceAccount": names.account, "aws:SourceArn": names.arn("scheduler", f"schedule-group/{names.schedule_group}")}
    return trust_service("scheduler.amazonaws.com", StringEquals=source)


def github_subjects(repository: str, branch: str, ids: str | None) -> list[str]:
    """Both forms of GitHub's `sub` claim: by name, and by name with ids, which repositories made since 2026-07-15 send."""
    subjects = [f"repo:{repository}:ref:refs/heads/{branch}"]
    if ids:
        owner, name = repository.split("/")
        owner_id, repository_id = ids.split("/")
        subjects.append(f"repo:{owner}@{owner_id}/{name}@{repository_id}:ref:refs/heads/{branch}")
    return subjects


def trust_github(account: str, repository: str, branch: str, ids: str | None = None) -> Policy:
    """Workflows of one branch of one repository."""
    equals = {f"{GITHUB}:aud": "sts.amazonaws.com", f"{GITHUB}:sub": github_subjects(repository, branch, ids)}
    return document(
        [
            {
                "Effect": "Allow",
                "Principal": {"Federated": f"arn:aws:iam::{account}:oidc-provider/{GITHUB}"},
                "Action": "sts:AssumeRoleWithWebIdentity",
                "Condition": {"StringEquals": equals},
            }
        ]
    )


# ---------------------------------------------------------------- roles


def instance(names: Names) -> Policy:
    """What a training machine may do. It cannot start, stop or tag anything: it ends itself by powering off."""
    data, outputs = (f"arn:aws:s3:::{bucket}" for bucket in (names.data_bucket, names.outputs_bucket))
    groups = [names.log_group(stream) for stream in LogStream if stream is not LogStream.WATCHDOG]
    return document(
        [
            # Without a condition on the prefix: with one, S3 says 403 instead of 404 for an object that is not there, such as stop.json.
            allow("ListBuckets", "s3:ListBucket", [data, outputs]),
            allow("ReadData", actions("s3", "GetObject", "GetObjectVersion"), f"{data}/*"),
            allow("ReadRuns", "s3:GetObject", f"{outputs}/{RUNS}*"),
            allow("WriteRuns", actions("s3", "PutObject", "AbortMultipartUpload"), [f"{outputs}/{key}" for key in written_by_machines()]),
            allow_anywhere("SignInToRegistry", "ecr:GetAuthorizationToken"),
            allow("PullImage", actions("ecr", "GetDownloadUrlForLayer", "BatchGetImage"), images(names)),
            allow(
                "WriteLogs",
                actions("logs", "CreateLogStream", "PutLogEvents"),
                [names.arn("logs", f"log-group:{group}:*") for group in groups],
            ),
            _put_metrics(names),
            allow_anywhere("ReadSpotPrices", "ec2:DescribeSpotPriceHistory"),
            allow("ReadToken", "secretsmanager:GetSecretValue", names.secret_arn(HF_TOKEN)),
            _session_manager(),
        ]
    )


def written_by_machines() -> list[str]:
    """The keys of runs that a machine writes: neither what a run is (`spec.json`), nor who may start it, nor the order to stop.

    Nor that a run is over (`ended/`): one listed so is looked at by no sweep, and the machine of another run could list it.
    """
    keys = RunKeys("*")
    return [
        keys.status,
        keys.success,
        keys.failure,
        keys.attempt_end("*"),
        f"{keys.checkpoints}*",
        f"{keys.output}*",
        f"{keys.logs}*",
    ]


def _put_metrics(names: Names) -> Policy:
    return allow_anywhere("WriteMetrics", "cloudwatch:PutMetricData", StringEquals={"cloudwatch:namespace": names.metrics})


def _session_manager() -> Policy:
    channels = actions("ssmmessages", "CreateControlChannel", "CreateDataChannel", "OpenControlChannel", "OpenDataChannel")
    return allow_anywhere("SessionManager", ["ssm:UpdateInstanceInformation", *channels])


START = actions("ec2", "RunInstances", "CreateFleet")
IMAGES = "parameter/aws/service/deeplearning/ami/*"


def watchdog(names: Names) -> Policy:
    """What the Lambda function may do: see, end what is ours, and start a run again from our own template with our own tags."""
    outputs, keys = f"arn:aws:s3:::{names.outputs_bucket}", RunKeys("*")
    schedules = names.arn("scheduler", f"schedule/{names.schedule_group}/*")
    log = names.arn("logs", f"log-group:{names.log_group(LogStream.WATCHDOG)}:*")
    return document(
        [
            allow_anywhere("See", actions("ec2", "DescribeInstances", "DescribeSpotPriceHistory")),
            allow("TerminateOurs", "ec2:TerminateInstances", names.arn("ec2", "instance/*"), StringEquals=resource_tags(names.tags)),
            *starting(names),
            _pass("PassSchedulerRole", names, names.scheduler_role, "scheduler.amazonaws.com"),
            allow("Deadlines", actions("scheduler", "CreateSchedule", "UpdateSchedule", "GetSchedule", "DeleteSchedule"), schedules),
            allow("ListRuns", actions("s3", "ListBucket", "ListBucketVersions"), outputs),
            allow("ReadRuns", "s3:GetObject", f"{outputs}/{RUNS}*"),
            allow("MarkRuns", "s3:PutObject", [f"{outputs}/{key}" for key in (keys.failure, f"{keys.attempts}*", f"{ENDED}*")]),
            # by version, so that it leaves nothing behind; an object that it has not named by version it cannot take away
            allow("DropSupersededCheckpoints", "s3:DeleteObjectVersion", f"{outputs}/{keys.checkpoints}*"),
            allow("KeepFailedEvents", "s3:PutObject", f"{outputs}/{FAILED_EVENTS}{names.watchdog}/*"),
            allow("Alert", "sns:Publish", names.arn("sns", names.topic)),
            allow("ReadWebhook", "secretsmanager:GetSecretValue", names.secret_arn(WEBHOOK_URL)),
            _put_metrics(names),
            allow("WriteLogs", actions("logs", "CreateLogStream", "PutLogEvents"), log),
        ]
    )


def starting(names: Names) -> list[Policy]:
    """Start a machine with the lab's tags from the lab's launch template: what the watchdog may, and the operator.

    A spot request is made without tags, because the template that serves both markets cannot ask for them (`launch_template.TAGGED`).
    https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/ec2-fleet-prerequisites.html#ec2-fleet-iam-users
    """
    kinds = ("instance", "volume", "network-interface", "fleet")
    tagged = [names.arn("ec2", f"{kind}/*") for kind in kinds]
    with_ours = [names.arn("ec2", f"{kind}/*") for kind in ("launch-template", "security-group")]
    public = [f"arn:aws:ec2:{names.region}::{kind}/*" for kind in ("image", "snapshot")]
    with_any = [*public, *(names.arn("ec2", f"{kind}/*") for kind in ("subnet", "key-pair", "spot-instances-request"))]
    create = {**request_tags(names.tags), "ec2:CreateAction": ["RunInstances", "CreateFleet"]}
    return [
        allow("StartTagged", START, tagged, StringEquals=request_tags(names.tags)),
        allow("TagWhatStarts", "ec2:CreateTags", tagged, StringEquals=create),
        allow("StartFromOurTemplate", START, with_ours, StringEquals=resource_tags(names.tags)),
        allow("StartWith", START, with_any),
        allow("ResolveImage", "ssm:GetParameters", f"arn:aws:ssm:{names.region}::{IMAGES}"),
        _pass("PassInstanceRole", names, names.instance_role, "ec2.amazonaws.com"),
    ]


def _pass(sid: str, names: Names, role: str, service: str) -> Policy:
    return allow(sid, "iam:PassRole", names.role_arn(role), StringEquals={"iam:PassedToService": service})


def scheduler(names: Names) -> Policy:
    """What EventBridge Scheduler may do: call the watchdog, and end an instance of ours at its deadline."""
    return document(
        [
            allow("CallWatchdog", "lambda:InvokeFunction", names.arn("lambda", f"function:{names.watchdog}")),
            allow("TerminateOurs", "ec2:TerminateInstances", names.arn("ec2", "instance/*"), StringEquals=resource_tags(names.tags)),
        ]
    )


PUSH = actions(
    "ecr", "BatchCheckLayerAvailability", "GetDownloadUrlForLayer", "BatchGetImage", "InitiateLayerUpload", "UploadLayerPart",
    "CompleteLayerUpload", "PutImage",
)  # fmt: skip
"""What pushing and pulling by docker needs. https://docs.aws.amazon.com/AmazonECR/latest/userguide/image-push-iam.html"""


def github_push(names: Names) -> Policy:
    """What the image workflow may do: push to the one repository, and read what the scan found."""
    return document(
        [
            allow_anywhere("SignInToRegistry", "ecr:GetAuthorizationToken"),
            allow("PushImage", [*PUSH, "ecr:DescribeImageScanFindings"], images(names)),
        ]
    )


# ---------------------------------------------------------------- resources


def s3_endpoint(names: Names) -> Policy:
    """What may pass from the lab's network to S3 by the short way: everything on the lab's own buckets, and reading from others.

    An image's layers are read from a bucket of ECR's, with a request that ECR signed; so reading asks neither who nor where. What is
    written goes to the lab's buckets alone, by whomever of this account.
    https://docs.aws.amazon.com/AmazonECR/latest/userguide/vpc-endpoints.html#ecr-minimum-s3-perms
    """
    buckets = [f"arn:aws:s3:::{bucket}" for bucket in (names.data_bucket, names.outputs_bucket)]
    ours = allow(
        "OurBuckets", "s3:*", [*buckets, *(f"{bucket}/*" for bucket in buckets)], StringEquals={"aws:PrincipalAccount": names.account}
    )
    read: Policy = {"Sid": "ReadAnywhere", "Effect": "Allow", "Action": actions("s3", "GetObject", "GetObjectVersion"), "Resource": "*"}
    return document([{**statement, "Principal": "*"} for statement in (ours, read)])


def tls_only(bucket: str) -> Policy:
    """A bucket policy statement: no request without TLS."""
    return {
        "Sid": "TlsOnly",
        "Effect": "Deny",
        "Principal": "*",
        "Action": "s3:*",
        "Resource": [f"arn:aws:s3:::{bucket}", f"arn:aws:s3:::{bucket}/*"],
        "Condition": {"Bool": {"aws:SecureTransport": "false"}},
    }


def topic(names: Names) -> list[Policy]:
    """Statements of the topic's policy: alarms and budgets of this account may publish."""
    alarms = {"ArnLike": {"aws:SourceArn": names.arn("cloudwatch", f"alarm:{names.lab}-*")}}
    budgets = {"ArnLike": {"aws:SourceArn": f"arn:aws:budgets::{names.account}:*"}}
    return [
        {
            "Sid": sid,
            "Effect": "Allow",
            "Principal": {"Service": service},
            "Action": "sns:Publish",
            "Resource": names.arn("sns", names.topic),
            "Condition": {"StringEquals": {"aws:SourceAccount": names.account}, **source},
        }
        for sid, service, source in (
            ("LlmlabAlarms", "cloudwatch.amazonaws.com", alarms),
            ("LlmlabBudgets", "budgets.amazonaws.com", budgets),
        )
    ]


ROLES = {"instance": instance, "watchdog": watchdog, "scheduler": scheduler, "github push": github_push}
"""Role → its policy, for the documentation."""
