"""The ECR repositories of the training image and of the agent's image."""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from llmlab.aws import rates
from llmlab.aws.owned import AwsResource, Leftover, from_list, if_ours, to_list
from llmlab.aws.pages import every
from llmlab.aws.policies import PUSH
from llmlab.aws.policies_documents import Policy, actions, allow, allow_anywhere, images
from llmlab.aws.rates import Uses
from llmlab.aws.session import Aws, NotFound
from llmlab.contract import Names
from llmlab.infra.resource import Properties

LIFECYCLE = {
    "rules": [
        {
            "rulePriority": 1,
            "description": "keep 3 untagged",
            "selection": {"tagStatus": "untagged", "countType": "imageCountMoreThan", "countNumber": 3},
            "action": {"type": "expire"},
        },
        {
            "rulePriority": 2,
            "description": "keep 10 tagged",
            "selection": {"tagStatus": "tagged", "tagPatternList": ["*"], "countType": "imageCountMoreThan", "countNumber": 10},
            "action": {"type": "expire"},
        },
    ]
}


@dataclass(frozen=True, kw_only=True)
class Registry(AwsResource):
    """A private repository, scanned on push, that keeps the last ten tagged and three untagged images."""

    kind = "image repository"
    repository: str

    @property
    def name(self) -> str:
        return self.repository

    @property
    def client(self) -> Any:
        return self.aws.client("ecr")

    def desired(self) -> Properties:
        return {"scan on push": True, "lifecycle": LIFECYCLE}

    def read(self) -> Properties | None:
        try:
            repository = self._describe()
        except NotFound:
            return None
        return {"scan on push": repository.get("imageScanningConfiguration", {}).get("scanOnPush", False), "lifecycle": self._lifecycle()}

    def _describe(self) -> Mapping[str, Any]:
        repository: Mapping[str, Any] = self.client.describe_repositories(repositoryNames=[self.name])["repositories"][0]
        return repository

    def _lifecycle(self) -> Any:
        try:
            return json.loads(self.client.get_lifecycle_policy(repositoryName=self.name)["lifecyclePolicyText"])
        except NotFound:
            return None

    def tags(self) -> Mapping[str, str]:
        return from_list(self.client.list_tags_for_resource(resourceArn=self._describe()["repositoryArn"])["tags"])

    def create(self) -> None:
        self.client.create_repository(
            repositoryName=self.name,
            tags=to_list(self.names.tags),
            imageScanningConfiguration={"scanOnPush": True},
            encryptionConfiguration={"encryptionType": "AES256"},
        )

    def update(self, differs: Properties) -> None:
        if "scan on push" in differs:
            self.client.put_image_scanning_configuration(repositoryName=self.name, imageScanningConfiguration={"scanOnPush": True})
        if "lifecycle" in differs:
            self.client.put_lifecycle_policy(repositoryName=self.name, lifecyclePolicyText=json.dumps(LIFECYCLE))

    def delete(self) -> None:
        self.client.delete_repository(repositoryName=self.name, force=True)

    @classmethod
    def find_leftovers(cls, aws: Aws) -> Iterator[Leftover]:
        client = aws.client("ecr")
        for repository in every(client, "describe_repositories", "repositories"):
            if repository["repositoryName"] in aws.names.repositories:
                tags = client.list_tags_for_resource(resourceArn=repository["repositoryArn"])["tags"]
                yield from if_ours(aws, cls.kind, repository["repositoryName"], tags)

    @classmethod
    def idle_cost(cls, aws: Aws, leftover: Leftover, now: datetime) -> Uses:
        """What the images weigh; layers that they share are counted with each."""
        try:
            images = every(aws.client("ecr"), "describe_images", "imageDetails", repositoryName=leftover.id)
        except NotFound:
            return ()
        return ((sum(image.get("imageSizeInBytes", 0) for image in images) / rates.GB, rates.IMAGE),)

    @classmethod
    def operator_statements(cls, names: Names) -> Iterable[Policy]:
        """The repositories, and pushing images to them."""
        keep = actions(
            "ecr",
            "CreateRepository",
            "DeleteRepository",
            "DescribeImages",
            "GetLifecyclePolicy",
            "ListTagsForResource",
            "PutImageScanningConfiguration",
            "PutLifecyclePolicy",
            "TagResource",
        )
        return [
            allow_anywhere("List", actions("ecr", "DescribeRepositories", "GetAuthorizationToken")),
            allow("KeepImages", [*PUSH, *keep], images(names)),
        ]
