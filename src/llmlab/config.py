"""Settings of a lab: flag > `LLMLAB_*` environment > `llmlab.toml` > default, each remembered with where it came from."""

import difflib
import reprlib
import tomllib
from collections.abc import Mapping
from pathlib import Path
from shlex import quote
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from llmlab.contract import PROJECT, Env
from llmlab.errors import UsageError

FILE = Path("llmlab.toml")
PREFIX = "LLMLAB_"
CONFIG = "LLMLAB_CONFIG"
"""The settings file, where `--config` is not given."""
OTHER_VARIABLES = frozenset({CONFIG, "LLMLAB_LIVE", *Env})
"""Environment variables with our prefix that are no settings."""


def _whole(value: object) -> object:
    """Parse a number from an environment variable, because pydantic matches a Literal against the text itself."""
    return int(value) if isinstance(value, str) and value.isascii() and value.isdigit() else value


class Settings(BaseModel):
    """What a lab is made of. Every field is a key of `llmlab.toml`, and `LLMLAB_<KEY>` in the environment."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    lab: str = Field(PROJECT, description="name of the lab; two labs may share an account", pattern=r"^[a-z][a-z0-9-]{1,26}[a-z0-9]$")
    profile: str | None = Field(None, description="AWS profile")
    region: str | None = Field(None, description="AWS region; the SDK's own default otherwise")
    email: str | None = Field(None, description="where alerts and the budget write to")
    budget: float = Field(50, gt=0, le=1e9, description="monthly budget in US dollars: an alarm, not a cap")
    github: str | None = Field(None, description="owner/repository whose workflow may push the image", pattern=r"^[\w.-]+/[\w.-]+$")
    github_ids: str | None = Field(None, description="owner-id/repository-id, for the newer form of GitHub's subject", pattern=r"^\d+/\d+$")
    github_branch: str = Field("main", description="the branch that may push")
    vpc_id: str | None = Field(None, description="an existing VPC to use instead of an own one")
    subnet_ids: tuple[str, ...] = Field((), description="its subnets, one per availability zone")
    ssh_cidr: str | None = Field(None, description="the one network that may reach port 22; none otherwise")
    ssh_key: str | None = Field(None, description="name of an EC2 key pair for it")
    instance_types: tuple[str, ...] = Field((), description="the only types to use, in order; none: whichever is cheapest for a run")
    ubuntu: Literal["22.04", "24.04", "26.04"] = Field("22.04", description="Ubuntu release of the Deep Learning AMI")
    ami: str | None = Field(None, description="an AMI to pin instead of the newest one", pattern=r"^ami-[0-9a-f]+$")
    disk_gib: int = Field(200, ge=50, le=16384, description="root volume")
    disk_mb_per_second: int = Field(
        500, ge=125, le=750, description="its throughput, for what does not fit on the machine's own disks; 125 cost nothing more"
    )
    max_hours: float = Field(6, gt=0, le=168, description="the most a run may take over all its attempts")
    training_network: bool = Field(False, description="whether training containers may reach the network; models are there without")
    log_days: Annotated[Literal[1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365], BeforeValidator(_whole)] = Field(
        30, description="how long CloudWatch keeps the logs"
    )
    dashboard: bool = Field(True, description="a CloudWatch dashboard; free for an account's first three, else 3 US dollars a month")
    permissions_boundary: str | None = Field(None, description="ARN of a policy that bounds every role we create")


class Loaded(BaseModel):
    """Settings, and for each where it came from: `--region`, `LLMLAB_REGION`, a file's path, or `default`."""

    settings: Settings
    origins: dict[str, str]


def load(flags: Mapping[str, str], environment: Mapping[str, str], file: Path | None) -> Loaded:
    """Load the settings from flags, environment, file and defaults, in this order of precedence.

    Raises:
        UsageError: an unknown key, a wrong value, or a file that is named and does not exist.
    """
    values: dict[str, object] = {}
    origins = dict.fromkeys(Settings.model_fields, "default")
    named = file or (Path(environment[CONFIG]) if environment.get(CONFIG) else None)
    path = named or FILE
    if path.exists():
        try:
            values |= tomllib.loads(path.read_text(encoding="utf-8"))
        except (ValueError, RecursionError) as error:
            raise UsageError(
                f"{path} is not TOML: {str(error)[:1].lower()}{str(error)[1:]}", f"${{EDITOR:-vi}} {quote(str(path))}"
            ) from error
        except OSError as error:
            raise UsageError(f"{path} cannot be read: {error.strerror}", "llmlab config --config FILE") from error
        origins |= dict.fromkeys(values, str(path))
    elif named:
        raise UsageError(f"there is no settings file {path}", "llmlab init", without=["--config"])
    for variable in environment:
        if variable.startswith(PREFIX) and variable not in OTHER_VARIABLES | VARIABLES.keys():
            near = difflib.get_close_matches(variable, VARIABLES, n=1)
            meant = f"; {near[0]} is meant, perhaps" if near else ""
            raise UsageError(f"there is no setting for the variable {_shortened(variable)}{meant}", f"unset {variable}")
    for variable, key in VARIABLES.items():
        if variable in environment:
            text = environment[variable]
            values[key] = [item.strip() for item in text.split(",") if item.strip()] if key in LISTS else text
            origins[key] = variable
    for key, value in flags.items():
        values[key] = [item.strip() for item in value.split(",") if item.strip()] if key in LISTS else value
        origins[key] = f"--{key.replace('_', '-')}"
    try:
        return Loaded(settings=Settings.model_validate(values), origins={key: origins[key] for key in Settings.model_fields})
    except ValidationError as error:
        first = error.errors()[0]
        key = str(first["loc"][0])
        where = origins.get(key, str(path))
        if first["type"] == "extra_forbidden":
            near = difflib.get_close_matches(key, Settings.model_fields, n=1)
            reason = f"there is no setting {_shortened(key)}" + (f"; {near[0]} is meant, perhaps" if near else "")
        else:
            reason = f"{key} cannot be {reprlib.repr(first['input'])}: {first['msg'][:1].lower()}{first['msg'][1:]}"
        hint = f"unset {where}" if where in VARIABLES else "llmlab --help" if where.startswith("--") else f"${{EDITOR:-vi}} {quote(where)}"
        raise UsageError(f"{reason} ({where})", hint) from error


def _shortened(name: str) -> str:
    """Shorten a name that an error quotes to `LONGEST_NAME` characters."""
    return name if len(name) <= LONGEST_NAME else f"{name[:LONGEST_NAME]}…"


LONGEST_NAME = 100
LISTS = ("subnet_ids", "instance_types")
VARIABLES = {f"{PREFIX}{key.upper()}": key for key in Settings.model_fields}
"""Environment variable → setting."""
