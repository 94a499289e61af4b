"""The service-linked role that the first spot request of an account needs."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from llmlab.aws.owned import AwsResource, Leftover
from llmlab.aws.policies_documents import Policy
from llmlab.aws.rates import Uses
from llmlab.aws.session import AlreadyExists, Aws, AwsError, NotFound
from llmlab.contract import Names
from llmlab.infra.resource import Properties


@dataclass(frozen=True, kw_only=True)
class SpotRole(AwsResource):
    """EC2's role for spot instances. It belongs to the account, not to a lab: made when absent, never deleted."""

    kind = "service-linked role"
    shared = True

    @property
    def name(self) -> str:
        return "AWSServiceRoleForEC2Spot"

    def desired(self) -> Properties:
        return {}

    def read(self) -> Properties | None:
        try:
            self.aws.client("iam").get_role(RoleName=self.name)
        except NotFound:
            return None
        return {}

    def tags(self) -> Mapping[str, str]:
        return {}

    def create(self) -> None:
        try:
            self.aws.client("iam").create_service_linked_role(AWSServiceName="spot.amazonaws.com")
        except AwsError as error:
            if error.code == "InvalidInput" and "has been taken" in error.message:
                raise AlreadyExists(error.message, code=error.code, operation=error.operation) from error
            raise

    def update(self, differs: Properties) -> None:
        """Nothing to set."""

    def delete(self) -> None:
        """Never: other labs and programs of the account use it."""

    @classmethod
    def find_leftovers(cls, aws: Aws) -> Iterable[Leftover]:
        """None: it is never the lab's."""
        return ()

    @classmethod
    def idle_cost(cls, aws: Aws, leftover: Leftover, now: datetime) -> Uses:
        return ()

    @classmethod
    def operator_statements(cls, names: Names) -> Iterable[Policy]:
        """None here: they are in `policies_operator`, together with those for AWS's other roles."""
        return ()
