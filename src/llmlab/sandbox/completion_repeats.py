"""EC2 and IAM: what AWS answers to a call that is made again, because the first answer was lost or somebody else was quicker."""

import copy
from typing import Any

from llmlab.sandbox.completion import answer, fail


def install() -> None:
    """Patch moto's EC2 and IAM."""
    from moto.ec2.models.instances import Instance
    from moto.ec2.responses import EC2Response
    from moto.iam.responses import IamResponse

    terminate, delete_template = Instance.terminate, EC2Response.delete_launch_template
    remove_role = IamResponse.remove_role_from_instance_profile
    Instance.terminate = lambda self: copy.copy(self._state) if self.state == "terminated" else terminate(self)
    answer(EC2Response, "DeleteLaunchTemplate", lambda self, values: _delete_template(self, values, delete_template))
    answer(IamResponse, "RemoveRoleFromInstanceProfile", lambda self, values: _remove_role(self, values, remove_role))


def _delete_template(self: Any, values: dict[str, Any], original: Any) -> Any:
    """Moto says of a name that it does not know that there is none in the request."""
    name = values.get("LaunchTemplateName")
    if name and name not in self.ec2_backend.launch_template_name_to_ids:
        code = "InvalidLaunchTemplateName.NotFoundException"
        raise fail(code, f"The specified launch template, with template name {name}, does not exist.")
    return original(self)


def _remove_role(self: Any, values: dict[str, Any], original: Any) -> Any:
    """Moto's list raises. https://docs.aws.amazon.com/IAM/latest/APIReference/API_RemoveRoleFromInstanceProfile.html."""
    profile, role = values["InstanceProfileName"], values["RoleName"]
    if role not in {one.name for one in self.backend.get_instance_profile(profile).roles}:
        raise fail("NoSuchEntity", f"The role with name {role} cannot be found in instance profile {profile}.")
    return original(self)
