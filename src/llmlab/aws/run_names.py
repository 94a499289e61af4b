"""Which run has which name, by the listings of the outputs bucket."""

from llmlab import contract
from llmlab.aws import documents, objects
from llmlab.aws.session import Aws
from llmlab.contract import NameClaim, RunKeys
from llmlab.errors import LabError


def claims(aws: Aws, name: str) -> list[int]:
    """The numbers of a name's claims, newest first."""
    keys = documents.keys_under(aws, aws.names.outputs_bucket, contract.name_claims(name))
    return sorted((number for claimed, number in map(contract.parse_name_claim, keys) if claimed == name), reverse=True)


def claim(aws: Aws, name: str, number: int) -> NameClaim | None:
    """One claim, None where it is gone or cannot be read."""
    try:
        return documents.read(aws, NameClaim, aws.names.outputs_bucket, contract.name_claim(name, number))
    except documents.Unreadable:
        return None


def newest(aws: Aws, name: str) -> tuple[int, NameClaim | None]:
    """The number of a name's last claim, 0 where nobody has claimed it, and the claim."""
    number = next(iter(claims(aws, name)), 0)
    return number, claim(aws, name, number) if number else None


def holder(aws: Aws, name: str) -> str:
    """The run that a name means: the one that claimed it last and is still there; "" for none."""
    for number in claims(aws, name):
        name_claim = claim(aws, name, number)
        if name_claim and documents.exists(aws, aws.names.outputs_bucket, RunKeys(name_claim.run).spec):
            return name_claim.run
    return ""


def of_runs(aws: Aws) -> dict[str, str]:
    """The name of each run that has one: one call a thousand. Keys of another form are left out."""
    names: dict[str, str] = {}
    for key in documents.keys_under(aws, aws.names.outputs_bucket, contract.NAMED):
        try:
            run, name = contract.parse_named(key)
        except ValueError:
            continue
        names[run] = name
    return names


def release_newest(aws: Aws, name: str, run: str) -> None:
    """Take back the run's last claim, where it is the name's last: who had the name before has it again."""
    number, last = newest(aws, name)
    if last and last.run == run:
        documents.delete(aws, aws.names.outputs_bucket, contract.name_claim(name, number))


def release(aws: Aws, name: str, run: str) -> None:
    """Delete whatever says that the run has the name, or ever had it."""
    bucket = aws.names.outputs_bucket
    mine = [number for number in claims(aws, name) if (name_claim := claim(aws, name, number)) and name_claim.run == run]
    keys = [*(contract.name_claim(name, number) for number in mine), contract.named(run, name)]
    gone = [version for key in keys for version in objects.versions(aws, bucket, key) if version.key == key]
    if refused := objects.delete_versions(aws, bucket, gone):
        raise LabError(f"{refused[0]}: it could not be deleted", f"llmlab rm {run}")
