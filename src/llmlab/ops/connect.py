"""A session on a run's instance through Systems Manager: no inbound port, no key, and the training's own terminal.

The session itself is the work of AWS's session-manager-plugin, which the user installs once; it is handed what StartSession answered.
https://docs.aws.amazon.com/systems-manager/latest/userguide/session-manager-working-with-install-plugin.html
"""

import json
import shutil
import sys
from dataclasses import dataclass

from llmlab.aws import sessions
from llmlab.aws.session import Aws
from llmlab.errors import LabError, UsageError
from llmlab.lifecycle import instances

PLUGIN = "session-manager-plugin"
MOST_PORT = 65535
TMUX = "llmlab"
ATTACH = f"sudo tmux attach -t {TMUX} || sudo tmux ls; exec bash -l"


@dataclass(frozen=True)
class Session:
    """A session that AWS has started: its instance, and the command line that opens it in a terminal."""

    instance: str
    command: tuple[str, ...]


def connect(aws: Aws, run: str, *, profile: str = "", forward: str = "") -> Session:
    """Open a session with the newest living instance of a run. `forward`: `PORT` or `LOCAL:REMOTE`, to forward a port instead.

    Raises:
        LabError: the plugin is missing, or the run has no instance.
        UsageError: `forward` is no pair of ports.
    """
    ports = parse_ports(forward) if forward else None
    plugin = shutil.which(PLUGIN)
    if plugin is None:
        raise LabError(f"{PLUGIN} is not installed, and AWS sessions need it", install_hint(sys.platform))
    alive = sorted(
        (instance for instance in instances.find(aws.ec2, aws.names, run=run) if instance.state == "running"),
        key=lambda instance: instance.attempt,
    )
    if not alive:
        raise LabError(f"{run} has no running instance", f"llmlab logs {run}")
    if ports:
        document, parameters = "AWS-StartPortForwardingSession", {"localPortNumber": [ports[0]], "portNumber": [ports[1]]}
    else:
        document, parameters = "AWS-StartInteractiveCommand", {"command": [ATTACH]}
    request = {"Target": alive[-1].id, "DocumentName": document, "Parameters": parameters}
    answer, endpoint = sessions.start(aws, request)
    command = (plugin, json.dumps(answer), aws.region, "StartSession", profile, json.dumps(request), endpoint)
    return Session(alive[-1].id, command)


def parse_ports(text: str) -> tuple[str, str]:
    """The local and the remote port of a `--port-forward` argument.

    Raises:
        UsageError: not `PORT` or `LOCAL:REMOTE`, each from 1 to 65535.
    """
    local, colon, remote = text.partition(":")
    remote = remote if colon else local
    if not all(port.isdigit() and 0 < int(port) <= MOST_PORT for port in (local, remote)):
        raise UsageError(f"--port-forward takes PORT or LOCAL:REMOTE, not {text}", "llmlab connect latest --port-forward 6006")
    return local, remote


def install_hint(platform: str) -> str:
    """The command that installs the Session Manager plugin."""
    if platform == "darwin":
        return f"brew install --cask {PLUGIN}"
    url = f"https://s3.amazonaws.com/session-manager-downloads/plugin/latest/ubuntu_64bit/{PLUGIN}.deb"
    return f"curl -fsSLo /tmp/{PLUGIN}.deb {url} && sudo dpkg -i /tmp/{PLUGIN}.deb"
