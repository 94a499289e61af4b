"""The instance metadata service, version 2 only: each machine has its own at `<sandbox>/_imds/<instance id>`.

https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/instancedata-data-categories.html
"""

import base64
import json
import re
import secrets
from datetime import UTC, timedelta
from typing import Any

from llmlab.sandbox.completion import LOCK
from llmlab.sandbox.machine import Machine, Room
from llmlab.sandbox.refusals.switch import amount, holds

Answer = tuple[int, str | bytes]
LONGEST = 21600
MAC = "02:00:00:00:00:01"
"""The MAC address of every machine: no two are on one network."""
VERSION = re.compile(r"(latest|\d{4}-\d\d-\d\d)/?")
"""The first part of a path; every version answers the same here."""
CREDENTIALS_LIVE = timedelta(hours=6)


class Metadata:
    """The metadata service of every machine of a room."""

    def __init__(self, room: Room) -> None:
        self.room = room
        self.unready = 0
        """How many requests for tags each machine's service fails at first, with 404 and 503 in turn."""
        self._unanswered: dict[str, int] = {}
        self._tokens: dict[str, float] = {}
        self._credentials: dict[str, dict[str, str]] = {}

    def answer(self, method: str, identity: str, path: str, headers: dict[str, str]) -> Answer:
        """The status and body of one request. `path` begins with a version, such as `latest/`; header names in lower case."""
        machine = self.room.machines.get(identity)
        if machine is None or machine.instance.state == "terminated":
            return 404, ""
        started = machine.instance.launch_time.replace(tzinfo=UTC).timestamp()
        age = self.room.timetable.timestamp() - started
        if holds("metadata-not-ready") and age < amount("metadata-not-ready"):
            return 503, ""
        if "/meta-data/tags/" in f"/{path}" and holds("metadata-tags-not-there-yet") and age < amount("metadata-tags-not-there-yet"):
            return 404, ""
        if path == "latest/api/token":
            return self._token(method, headers)
        now = self.room.timetable.timestamp()
        if self._tokens.get(headers.get("x-aws-ec2-metadata-token", ""), 0) < now:
            return 401, ""
        version = VERSION.match(path)
        unanswered = self._unanswered.get(identity, 0)
        if "tags/instance" in path and unanswered < self.unready:
            self._unanswered[identity] = unanswered + 1
            return (503, "") if unanswered % 2 else (404, "")
        return self._look_up(machine, path[version.end() :]) if version else (404, "")

    def _token(self, method: str, headers: dict[str, str]) -> Answer:
        seconds = headers.get("x-aws-ec2-metadata-token-ttl-seconds", "")
        if method != "PUT":
            return 405, ""
        if headers.get("x-forwarded-for"):
            return 403, ""
        if not seconds.isdigit() or not 1 <= int(seconds) <= LONGEST:
            return 400, ""
        token = secrets.token_urlsafe(40)
        self._tokens[token] = self.room.timetable.timestamp() + int(seconds)
        return 200, token

    def _look_up(self, machine: Machine, path: str) -> Answer:
        wanted = path.strip("/")
        if wanted == "user-data":
            data = machine.instance.user_data
            return (200, base64.b64decode(str(data))) if data else (404, "")
        with LOCK:
            facts = self._facts(machine)
        if wanted in facts:
            value = facts[wanted]
            return 200, value() if callable(value) else value
        folder = wanted + "/" if wanted else ""
        below = {key[len(folder) :] for key in facts if key.startswith(folder)}
        names = sorted({head + ("/" if slash else "") for head, slash, _ in (key.partition("/") for key in below)})
        return (200, "\n".join(names)) if names else (404, "")

    def _facts(self, machine: Machine) -> dict[str, Any]:
        instance = machine.instance
        zone = str(instance.placement.zone)
        data: dict[str, Any] = {
            "ami-id": instance.image_id,
            "ami-launch-index": str(instance.ami_launch_index),
            "hostname": instance.private_dns_name,
            "instance-id": instance.id,
            "instance-type": instance.instance_type,
            "instance-life-cycle": instance.lifecycle or "on-demand",
            "local-hostname": instance.private_dns_name,
            "local-ipv4": instance.private_ip or "",
            "mac": MAC,
            f"network/interfaces/macs/{MAC}/device-number": "0",
            f"network/interfaces/macs/{MAC}/local-ipv4s": instance.private_ip or "",
            f"network/interfaces/macs/{MAC}/mac": MAC,
            f"network/interfaces/macs/{MAC}/subnet-id": instance.subnet_id or "",
            "placement/availability-zone": zone,
            "placement/region": instance.region_name,
            "security-groups": "\n".join(group.name for group in instance.security_groups),
            "services/domain": "amazonaws.com",
        }
        if instance.public_ip:
            data["public-ipv4"] = instance.public_ip
        if instance.metadata_options.instance_metadata_tags == "enabled":
            data |= {f"tags/instance/{tag['key']}": tag["value"] for tag in instance.get_tags() if not tag["key"].startswith("aws:")}
        if machine.spot_action:
            data["spot/instance-action"] = json.dumps(machine.spot_action)
            data["spot/termination-time"] = machine.spot_action["time"]
        profile = self._profile(instance)
        if profile is not None and profile.roles:
            role = profile.roles[0].name
            facts = {"Code": "Success", "InstanceProfileArn": profile.arn, "InstanceProfileId": profile.id}
            data["iam/info"] = json.dumps(facts)
            data[f"iam/security-credentials/{role}"] = lambda: self._credentials_of(machine, profile.roles[0])
        document = {
            "accountId": instance.ec2_backend.account_id, "architecture": instance.architecture, "availabilityZone": zone,
            "imageId": instance.image_id,
            "instanceId": instance.id, "instanceType": instance.instance_type, "privateIp": instance.private_ip,
            "region": instance.region_name,
        }  # fmt: skip
        return {**{f"meta-data/{key}": value for key, value in data.items()}, "dynamic/instance-identity/document": json.dumps(document)}

    def _profile(self, instance: Any) -> Any:
        association = instance.ec2_backend.iam_instance_profile_associations.get(instance.id)
        return association.iam_instance_profile if association else instance.iam_instance_profile

    def _credentials_of(self, machine: Machine, role: Any) -> str:
        from moto.sts.models import sts_backends

        now = self.room.timetable.now()
        held = self._credentials.get(machine.identity)
        stamp = "%Y-%m-%dT%H:%M:%SZ"
        if held is None or held["Expiration"] < (now + CREDENTIALS_LIVE / 12).strftime(stamp):
            with LOCK:
                assumed = sts_backends[machine.instance.ec2_backend.account_id]["aws"].assume_role(
                    region_name=machine.instance.region_name,
                    role_session_name=machine.identity,
                    role_arn=role.arn,
                    policy=None,
                    duration=int(CREDENTIALS_LIVE.total_seconds()),
                    external_id="",
                )
            held = {
                "Code": "Success",
                "LastUpdated": now.strftime(stamp),
                "Type": "AWS-HMAC",
                "AccessKeyId": assumed.access_key_id,
                "SecretAccessKey": assumed.secret_access_key,
                "Token": assumed.session_token,
                "Expiration": (now + CREDENTIALS_LIVE).strftime(stamp),
            }
            self._credentials[machine.identity] = held
        return json.dumps(held)
