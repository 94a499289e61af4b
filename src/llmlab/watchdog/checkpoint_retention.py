"""Deleting superseded checkpoints from S3, as the trainer deletes them from disk: with every version, during the run and after it.

What stays: the newest that the recipe keeps (`keep_checkpoints`), from one of which a resume goes on; the best on held-out examples; and
what a name points to. One call deletes a limited number of versions, and is repeated while there are more.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence

from llmlab import contract
from llmlab.contract import COMPLETE, CheckpointState, ContractError, RunKeys
from llmlab.lifecycle.deleting import Version, delete_versions, versions_of
from llmlab.watchdog import followup
from llmlab.watchdog.dependencies import Tools
from llmlab.watchdog.run_snapshot import RunSnapshot
from llmlab.watchdog.termination import SOON_SECONDS

KEPT = 3
"""How many checkpoints stay where the recipe does not say."""
FEWEST = 2
"""The minimum that stays: where the newest is damaged, the run resumes from the one before it."""
MOST_VERSIONS = 5000
"""Versions that one call deletes: some seconds, of the minutes that a call of the function may take."""


class NotDeletedError(Exception):
    """S3 refused to delete some versions."""


def remove(tools: Tools, snapshot: RunSnapshot) -> None:
    """Delete a run's superseded checkpoints; where they are too many for one call, schedule the next follow-up.

    Raises:
        NotDeletedError: S3 refused to delete some versions.
    """
    keys = RunKeys(snapshot.run)
    checkpoints = folders(keys, tools.bucket.keys(keys.checkpoints))
    steps = superseded(checkpoints, keep(snapshot.records.spec.recipe), uploading=uploading(snapshot))
    if steps:
        stay = needed(tools, keys, sorted((step for step, whole in checkpoints.items() if whole), reverse=True))
        steps = [step for step in steps if step not in stay]
    deleted = 0
    for step in steps:
        if deleted >= MOST_VERSIONS:
            followup.set_for(tools, snapshot.run, tools.now.timestamp() + SOON_SECONDS)
            return
        deleted += _delete(tools, keys.checkpoint(step))
        tools.log("superseded", run=snapshot.run, step=step)


def _delete(tools: Tools, prefix: str) -> int:
    """Delete every version under the prefix of a checkpoint, its `COMPLETE` first; returns how many there were."""
    pages = tools.bucket.client.get_paginator("list_object_versions").paginate(Bucket=tools.bucket.bucket, Prefix=prefix)
    versions = [version for page in pages for version in versions_of(page)]
    whole = [version for version in versions if version[0] == prefix + COMPLETE]
    for some in (whole, _without(versions, whole)):
        if refused := delete_versions(tools.bucket.client, tools.bucket.bucket, some):
            raise NotDeletedError(f"S3 has kept {len(refused)} versions under {prefix}, the first of them {refused[0]}")
    return len(versions)


def _without(versions: Iterable[Version], others: Collection[Version]) -> list[Version]:
    return [version for version in versions if version not in others]


# ---------------------------------------------------------------- which


def superseded(checkpoints: Mapping[int, bool], kept: int, *, uploading: bool) -> list[int]:
    """The steps of the checkpoints that no resume needs any more, oldest first. Pure.

    `checkpoints` are all that exist, by step, and whether each is whole. One that is not may still become so while an instance is
    `uploading`, the newest first, and goes then only when it is older than all that stay.
    """
    newest = sorted(step for step, whole in checkpoints.items() if whole)[-kept:]
    old = {step for step in checkpoints if step < newest[0]} if len(newest) == kept else set()
    torn = {step for step, whole in checkpoints.items() if not whole and not uploading}
    return sorted(old | torn)


def folders(keys: RunKeys, listed: Iterable[str]) -> dict[int, bool]:
    """The steps of the checkpoints under these keys, and whether each has its `COMPLETE`."""
    checkpoints: dict[int, bool] = {}
    for key in listed:
        name, _, path = key.removeprefix(keys.checkpoints).partition("/")
        step = contract.parse_checkpoint_name(name)
        if step is not None and path:
            checkpoints[step] = checkpoints.get(step, False) or path == COMPLETE
    return checkpoints


def keep(recipe: Mapping[str, object]) -> int:
    """How many of the newest checkpoints stay, by the recipe."""
    setting = recipe.get("keep_checkpoints", KEPT)
    return max(FEWEST, setting) if isinstance(setting, int) and not isinstance(setting, bool) else KEPT


def uploading(snapshot: RunSnapshot) -> bool:
    """Whether an instance may still be uploading a checkpoint: the run goes on, or an instance of it is not terminated yet."""
    return not snapshot.records.over or any(instance.state != "terminated" for instance in snapshot.machines)


def needed(tools: Tools, keys: RunKeys, whole: Sequence[int]) -> set[int]:
    """The steps to keep whatever their age: the best, and those with names. `whole` are the complete checkpoints' steps, newest first."""
    return best(tools, keys, whole) | named(tools, keys)


def best(tools: Tools, keys: RunKeys, whole: Sequence[int]) -> set[int]:
    """The step with the best loss on held-out examples, by the newest complete checkpoint whose state can be read."""
    for step in whole:
        try:
            state = tools.bucket.load(CheckpointState, keys.checkpoint(step) + contract.CHECKPOINT_STATE)
        except ContractError as error:
            tools.log("unreadable", run=keys.run, why=str(error))
            continue
        if state is not None:
            return {state.best_step} if state.best_step else set()
    return set()


def named(tools: Tools, keys: RunKeys) -> set[int]:  # noqa: ARG001 - who gives checkpoints names says here which
    """The steps that a name or an alias points to. None has one yet."""
    return set()
