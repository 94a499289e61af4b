"""The configuration shared with AWS's other tools on a laptop: where the region comes from, and the cache of assumed roles."""

import os
import shlex
from pathlib import Path
from typing import Any

from botocore import exceptions
from botocore.configprovider import ChainProvider, EnvironmentProvider
from botocore.utils import JSONFileCache

from llmlab.errors import ExitCode, LabError

REGION = "AWS_REGION"
"""The variable that goes before AWS_DEFAULT_REGION and the profile's region, as in the AWS command line's second version and AWS's newer
SDKs; botocore does not read it. https://docs.aws.amazon.com/sdkref/latest/guide/feature-region.html"""
ROLES = Path("~/.aws/cli/cache")
"""Where the AWS command line keeps the credentials of assumed roles until they expire. A code of a multi-factor device is good for one
call, so that without it every command would ask anew. https://docs.aws.amazon.com/cli/latest/userguide/cli-configure-role.html"""


def prepare(core: Any, region: str | None) -> None:
    """Let a session of botocore read the region, where none is named, and keep assumed roles as the AWS command line does.

    Raises:
        LabError: the shared configuration cannot be read.
    """
    try:
        settings = core.get_component("config_store")
        if not region:
            variable = EnvironmentProvider(REGION, os.environ)
            settings.set_config_provider("region", ChainProvider([variable, settings.get_config_provider("region")]))
        roles = core.get_component("credential_provider").get_provider("assume-role")
    except exceptions.ConfigParseError as error:
        raise unreadable(error) from error
    except UnicodeDecodeError as error:
        raise LabError(f"the AWS settings are no text: {error.reason}", "aws configure list", ExitCode.USAGE) from error
    roles.cache = JSONFileCache(str(ROLES.expanduser()))


def unreadable(error: exceptions.ConfigParseError) -> LabError:
    """The error for a file of AWS settings that cannot be parsed, with its path and what is wrong."""
    path, reason = error.kwargs.get("path", ""), str(error.kwargs.get("error", "")) or "it is not a file of settings"
    return LabError(f"the AWS settings in {path} cannot be read: {reason}", shlex.join(["vi", str(path)]), ExitCode.USAGE)
