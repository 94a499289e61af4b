"""Every policy of the lab, as a pure function of its names: least privilege, and the source of `docs/permissions.md`.

Sources: EC2's rules for tagging on creation (`aws:RequestTag`, `ec2:CreateAction`) and for launch templates are in the service
authorization reference; Session Manager needs only the five actions of `_session_manager`, where the managed policy would add
every parameter of the account.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from llmlab.contract import ENDED, RUNS, LogStream, Names

GITHUB = "token.actions.githubusercontent.com"
Policy = dict[str, Any]


def document(statements: Iterable[Policy]) -> Policy:
    return {"Version": "2012-10-17", "Statement": list(statements)}


def statements(policy: Mapping[str, Any]) -> list[Policy]:
    found = policy.get("Statement", [])
    return list(found) if isinstance(found, list) else [found]


def merged(existing: Sequence[Policy], ours: Sequence[Policy]) -> Policy:
    """Our statements in place of those with the same Sid; the others stay."""
    sids = {statement["Sid"] for statement in ours}
    return document([*(one for one in existing if one.get("Sid") not in sids), *ours])


def _allow(sid: str, actions: str | list[str], resources: str | list[str], **condition: Mapping[str, Any]) -> Policy:
    statement: Policy = {"Sid": sid, "Effect": "Allow", "Action": actions, "Resource": resources}
    if condition:
        statement["Condition"] = {operator: dict(values) for operator, values in condition.items()}
    return statement


# ---------------------------------------------------------------- trust


def trust_service(service: str, account: str | None = None) -> Policy:
    """Who may take the role: one AWS service, on behalf of this account only where the service says for whom it works."""
    statement: Policy = {"Effect": "Allow", "Principal": {"Service": service}, "Action": "sts:AssumeRole"}
    if account:
        statement["Condition"] = {"StringEquals": {"aws:SourceAccount": account}}
    return document([statement])


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
            _allow("ListData", ["s3:ListBucket", "s3:ListBucketVersions", "s3:GetBucketLocation"], data),
            _allow("ReadData", ["s3:GetObject", "s3:GetObjectVersion"], f"{data}/*"),
            # Without a condition on the prefix: with one, S3 says 403 instead of 404 for an object that is not there, such as stop.json.
            _allow("ListRuns", ["s3:ListBucket", "s3:GetBucketLocation"], outputs),
            _allow("ReadRuns", ["s3:GetObject", "s3:GetObjectVersion"], f"{outputs}/{RUNS}*"),
            _allow("WriteRuns", ["s3:PutObject", "s3:AbortMultipartUpload"], [f"{outputs}/{RUNS}*", f"{outputs}/{ENDED}*"]),
            _allow("SignInToRegistry", "ecr:GetAuthorizationToken", "*"),
            _allow(
                "PullImage",
                ["ecr:BatchCheckLayerAvailability", "ecr:GetDownloadUrlForLayer", "ecr:BatchGetImage"],
                names.arn("ecr", f"repository/{names.repository}"),
            ),
            _allow(
                "WriteLogs",
                ["logs:CreateLogStream", "logs:PutLogEvents", "logs:DescribeLogStreams"],
                [names.arn("logs", f"log-group:{group}:*") for group in groups],
            ),
            _put_metrics(names, "CWAgent"),
            _allow("ReadSpotPrices", "ec2:DescribeSpotPriceHistory", "*"),
            _allow("ReadSecrets", "secretsmanager:GetSecretValue", names.arn("secretsmanager", f"secret:{names.secret('*')}")),
            _session_manager(),
        ]
    )


def _put_metrics(names: Names, *others: str) -> Policy:
    namespace: str | list[str] = [names.metrics, *others] if others else names.metrics
    return _allow("WriteMetrics", "cloudwatch:PutMetricData", "*", StringEquals={"cloudwatch:namespace": namespace})


def _session_manager() -> Policy:
    channels = ["CreateControlChannel", "CreateDataChannel", "OpenControlChannel", "OpenDataChannel"]
    return _allow("SessionManager", ["ssm:UpdateInstanceInformation", *(f"ssmmessages:{channel}" for channel in channels)], "*")


def watchdog(names: Names) -> Policy:
    """What the Lambda function may do: see, end what is ours, and start a run again from our own template with our own tags."""
    outputs = f"arn:aws:s3:::{names.outputs_bucket}"
    schedules = names.arn("scheduler", f"schedule/{names.schedule_group}/*")
    ours = {f"aws:ResourceTag/{key}": value for key, value in names.tags.items()}
    asked = {f"aws:RequestTag/{key}": value for key, value in names.tags.items()}
    made = [names.arn("ec2", f"{kind}/*") for kind in ("instance", "volume", "network-interface", "spot-instances-request", "fleet")]
    return document(
        [
            _allow(
                "See",
                [
                    "ec2:DescribeInstances",
                    "ec2:DescribeInstanceStatus",
                    "ec2:DescribeSpotPriceHistory",
                    "ec2:DescribeSpotInstanceRequests",
                    "ec2:DescribeFleets",
                    "ec2:DescribeFleetInstances",
                    "ec2:DescribeSubnets",
                    "ec2:DescribeImages",
                    "ec2:DescribeLaunchTemplates",
                    "ec2:DescribeLaunchTemplateVersions",
                    "ec2:DescribeInstanceTypes",
                    "ec2:DescribeInstanceTypeOfferings",
                ],
                "*",
            ),
            _allow("TerminateOurs", "ec2:TerminateInstances", names.arn("ec2", "instance/*"), StringEquals=ours),
            _allow("StartTagged", ["ec2:RunInstances", "ec2:CreateFleet"], made, StringEquals=asked),
            _allow("TagWhatStarts", "ec2:CreateTags", made, StringEquals={**asked, "ec2:CreateAction": ["RunInstances", "CreateFleet"]}),
            _allow(
                "StartFromOurTemplate",
                ["ec2:RunInstances", "ec2:CreateFleet"],
                [names.arn("ec2", "launch-template/*"), names.arn("ec2", "security-group/*")],
                StringEquals=ours,
            ),
            _allow(
                "StartWith",
                ["ec2:RunInstances", "ec2:CreateFleet"],
                [
                    f"arn:aws:ec2:{names.region}::image/*",
                    f"arn:aws:ec2:{names.region}::snapshot/*",
                    names.arn("ec2", "subnet/*"),
                    names.arn("ec2", "key-pair/*"),
                ],
            ),
            _allow(
                "ResolveImage",
                ["ssm:GetParameter", "ssm:GetParameters"],
                f"arn:aws:ssm:{names.region}::parameter/aws/service/deeplearning/ami/*",
            ),
            _pass("PassInstanceRole", names, names.instance_role, "ec2.amazonaws.com"),
            _pass("PassSchedulerRole", names, names.scheduler_role, "scheduler.amazonaws.com"),
            _allow("Deadlines", [f"scheduler:{verb}Schedule" for verb in ("Create", "Update", "Get", "Delete")], schedules),
            _allow("ListRuns", ["s3:ListBucket", "s3:GetBucketLocation"], outputs),
            _allow("ReadAndMarkRuns", ["s3:GetObject", "s3:PutObject"], [f"{outputs}/{RUNS}*", f"{outputs}/{ENDED}*"]),
            _allow("Alert", "sns:Publish", names.arn("sns", names.topic)),
            _put_metrics(names),
            _allow(
                "WriteLogs",
                ["logs:CreateLogStream", "logs:PutLogEvents"],
                names.arn("logs", f"log-group:{names.log_group(LogStream.WATCHDOG)}:*"),
            ),
        ]
    )


def _pass(sid: str, names: Names, role: str, service: str) -> Policy:
    return _allow(sid, "iam:PassRole", f"arn:aws:iam::{names.account}:role/{role}", StringEquals={"iam:PassedToService": service})


def scheduler(names: Names) -> Policy:
    """What EventBridge Scheduler may do: call the watchdog, and end an instance of ours at its deadline."""
    ours = {f"aws:ResourceTag/{key}": value for key, value in names.tags.items()}
    return document(
        [
            _allow("CallWatchdog", "lambda:InvokeFunction", names.arn("lambda", f"function:{names.watchdog}")),
            _allow("TerminateOurs", "ec2:TerminateInstances", names.arn("ec2", "instance/*"), StringEquals=ours),
        ]
    )


def github_push(names: Names) -> Policy:
    """What the image workflow may do: push to the one repository."""
    return document(
        [
            _allow("SignInToRegistry", "ecr:GetAuthorizationToken", "*"),
            _allow(
                "PushImage",
                [
                    "ecr:BatchCheckLayerAvailability",
                    "ecr:GetDownloadUrlForLayer",
                    "ecr:BatchGetImage",
                    "ecr:InitiateLayerUpload",
                    "ecr:UploadLayerPart",
                    "ecr:CompleteLayerUpload",
                    "ecr:PutImage",
                    "ecr:DescribeImages",
                    "ecr:DescribeImageScanFindings",
                ],
                names.arn("ecr", f"repository/{names.repository}"),
            ),
        ]
    )


# ---------------------------------------------------------------- resources


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
