"""EC2 and IAM: AWS's answers to a repeated call, after a lost answer or when somebody else was quicker."""

import copy
from typing import Any

from llmlab.sandbox.completion import answer
from llmlab.sandbox.completion_delays import note
from llmlab.sandbox.refusals.checking import refused


def install() -> None:
    """Patch moto's EC2 and IAM."""
    from moto.ec2.models.instances import Instance
    from moto.iam.responses import IamResponse

    terminate = Instance.terminate
    remove_role = IamResponse.remove_role_from_instance_profile

    def end(self: Any) -> Any:
        if self.state == "terminated":
            return copy.copy(self._state)
        note(self, "end")
        return terminate(self)

    Instance.terminate = end
    answer(IamResponse, "RemoveRoleFromInstanceProfile", lambda self, values: _remove_role(self, values, remove_role))


def _remove_role(self: Any, values: dict[str, Any], original: Any) -> Any:
    """Remove a role from a profile with AWS's error when it is not in it; moto's list raises ValueError.

    https://docs.aws.amazon.com/IAM/latest/APIReference/API_RemoveRoleFromInstanceProfile.html
    """
    profile, role = values["InstanceProfileName"], values["RoleName"]
    if role not in {attached.name for attached in self.backend.get_instance_profile(profile).roles}:
        raise refused("role-not-in-the-profile", role=role, profile=profile)
    return original(self)
