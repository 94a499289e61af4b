"""The group that holds the lab's schedules: the hourly sweep and the deadlines of its runs."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from llmlab.aws.owned import AwsResource, Leftover, from_list, if_ours, to_list
from llmlab.aws.policies_documents import Policy, actions, allow
from llmlab.aws.rates import Uses
from llmlab.aws.session import Aws, AwsError, NotFound
from llmlab.contract import Names
from llmlab.infra.resource import Properties

DELETING = "DELETING"
"""The state of a group until all of its schedules are deleted.
https://docs.aws.amazon.com/scheduler/latest/APIReference/API_DeleteScheduleGroup.html"""
GROUP_SECONDS = 300
"""How long that may take, as terraform-provider-aws assumes (internal/service/scheduler/schedule_group.go)."""


@dataclass(frozen=True, kw_only=True)
class ScheduleGroup(AwsResource):
    """The group of the lab's schedules. It carries the tags, because schedules cannot; deleting it deletes the schedules in it."""

    kind = "schedule group"

    @property
    def name(self) -> str:
        return self.names.schedule_group

    @property
    def client(self) -> Any:
        return self.aws.client("scheduler")

    def desired(self) -> Properties:
        return {"owner": dict(self.names.tags)}

    def read(self) -> Properties | None:
        if self._state() is None:
            return None
        tags = self.tags()
        return {"owner": {key: tags.get(key) for key in self.names.tags}}

    def _state(self) -> str | None:
        """The group's state, None where it does not exist or is being deleted."""
        shown = self._shown()
        return None if shown == DELETING else shown

    def _shown(self) -> str | None:
        try:
            return str(self.client.get_schedule_group(Name=self.name)["State"])
        except NotFound:
            return None

    def exists(self) -> bool:
        return self._state() is not None

    def tags(self) -> Mapping[str, str]:
        arn = self.names.arn("scheduler", f"schedule-group/{self.name}")
        return from_list(self.client.list_tags_for_resource(ResourceArn=arn).get("Tags", []))

    def create(self) -> None:
        """A group of this name may still be going away; which of its errors says so AWS does not document, so the group is looked at."""

        def accepted() -> bool:
            try:
                self.client.create_schedule_group(Name=self.name, Tags=to_list(self.names.tags))
            except AwsError:
                if self._shown() != DELETING:
                    raise
                return False
            return True

        self.wait(accepted, "the end of the old group", seconds=GROUP_SECONDS, every=5)

    def update(self, differs: Properties) -> None:
        """Nothing to set: a group without our tags is a stranger."""

    def delete(self) -> None:
        """Delete it and wait for its end: until then no group of this name can be made."""
        self.client.delete_schedule_group(Name=self.name)
        self.wait(lambda: self._shown() is None, "its end", seconds=GROUP_SECONDS, every=5)

    @classmethod
    def find_leftovers(cls, aws: Aws) -> Iterator[Leftover]:
        """Find the group, with which the one-time schedules of runs are deleted."""
        client, name = aws.client("scheduler"), aws.names.schedule_group
        try:
            state = client.get_schedule_group(Name=name)["State"]
        except NotFound:
            return
        if state != DELETING:
            arn = aws.names.arn("scheduler", f"schedule-group/{name}")
            yield from if_ours(aws, cls.kind, name, client.list_tags_for_resource(ResourceArn=arn).get("Tags", []))

    @classmethod
    def idle_cost(cls, aws: Aws, leftover: Leftover, now: datetime) -> Uses:
        return ()  # of an idle lab it holds no schedule

    @classmethod
    def operator_statements(cls, names: Names) -> Iterable[Policy]:
        keep = actions("scheduler", "CreateScheduleGroup", "DeleteScheduleGroup", "GetScheduleGroup", "ListTagsForResource", "TagResource")
        return [allow("KeepGroup", keep, names.arn("scheduler", f"schedule-group/{names.schedule_group}"))]
