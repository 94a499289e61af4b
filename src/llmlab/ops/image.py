"""Build the training image and the agent's with the local Docker, and push them to the lab's repositories.

The build context is a clone's own tree, or, when llmlab was installed as a wheel, a folder put together from the package: the image
then holds the version that is installed.
"""

import base64
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import llmlab
from llmlab import contract
from llmlab.aws.ecr_images import ARCHITECTURE
from llmlab.aws.session import Aws, NotFound
from llmlab.errors import LabError, UsageError

PACKAGE = Path(llmlab.__file__).parent
DOCKERFILE = Path("docker/Dockerfile")
LAYERS = "layers.py"
"""The script with which the Dockerfile divides torch into layers."""
AGENT = "agent"
"""The stage of the Dockerfile that is the agent's image."""
BASE_ARGUMENT = "BASE_IMAGE="
PLATFORM = f"linux/{ARCHITECTURE}"
Say = Callable[[str], None]


@dataclass(frozen=True)
class Built:
    """References of the image that was built, and of the agent's; `pushed` when they are in the registry too, then with its `digest`."""

    references: tuple[str, ...]
    pushed: bool
    digest: str = ""
    agent: tuple[str, ...] = ()


def build(
    repository: str, tags: Sequence[str], say: Say, *, now: datetime, folder: Path | None = None, extra: Sequence[str] = (), agent: str = ""
) -> Built:
    """Build the image for the instances' architecture, tagged `repository:tag` for each tag. `extra` are more options of docker build.

    `agent`: the repository of the agent's image, which is a stage of the same Dockerfile and is built first; an older clone has none.

    Raises:
        UsageError: no Dockerfile in `folder`.
        LabError: no Docker engine, or the build failed.
    """
    check_engine()
    with context(folder) as root:
        command = ["docker", "build", "--platform", PLATFORM, "--file", str(root / DOCKERFILE)]
        if has_buildx():
            command.append("--provenance=false")  # else what is pushed is an index of two, one of which is no image
        for name, value in {**labels(root, now), **base(root, extra, say)}.items():
            command += ["--build-arg", f"{name}={value}"]
        has_agent = bool(agent) and f" AS {AGENT}\n" in (root / DOCKERFILE).read_text(encoding="utf-8")
        wanted = {agent: ("--target", AGENT), repository: ()} if has_agent else {repository: ()}
        built = {}
        for name, target in wanted.items():
            built[name] = tuple(f"{name}:{tag}" for tag in tags)
            words = [word for reference in built[name] for word in ("--tag", reference)]
            stream([*command, *target, *words, *extra, str(root)], say, failed="the image was not built")
    return Built(built[repository], pushed=False, agent=built.get(agent, ()))


def push(aws: Aws, tags: Sequence[str], say: Say, *, now: datetime, folder: Path | None = None, extra: Sequence[str] = ()) -> Built:
    """Build, then push to the lab's repositories; an older lab has none for the agent, which then runs from the training image.

    Raises:
        NotFound: the lab has no repository yet.
    """
    check_engine()
    ecr: Any = aws.client("ecr")
    repository: str = ecr.describe_repositories(repositoryNames=[aws.names.repository])["repositories"][0]["repositoryUri"]
    try:
        agent: str = ecr.describe_repositories(repositoryNames=[aws.names.agent_repository])["repositories"][0]["repositoryUri"]
    except NotFound:
        agent = ""
        say(f"there is no {aws.names.agent_repository} yet, so machines start without the agent's own image: llmlab bootstrap")
    token: str = ecr.get_authorization_token()["authorizationData"][0]["authorizationToken"]
    name, _, password = base64.b64decode(token).decode().partition(":")
    sign_in(repository.partition("/")[0], name, password)
    built = build(repository, tags, say, now=now, folder=folder, extra=extra, agent=agent)
    for reference in (*built.agent, *built.references):
        stream(["docker", "push", reference], say, failed=f"{reference} was not pushed")
    inspect = ["docker", "image", "inspect", "--format", "{{index .RepoDigests 0}}", built.references[0]]
    answer = subprocess.run(inspect, capture_output=True, text=True, check=False)
    return replace(built, pushed=True, digest=answer.stdout.strip().partition("@")[2])


def labels(root: Path, now: datetime) -> dict[str, str]:
    """The build arguments that the Dockerfile makes the image's labels of; with a clone's commit and origin, when there is one."""
    arguments = {"VERSION": llmlab.__version__, "CREATED": now.astimezone(UTC).strftime(contract.TIMESTAMP)}
    for name, question in (("GIT_SHA", ["rev-parse", "HEAD"]), ("SOURCE", ["remote", "get-url", "origin"])):
        try:
            answer = subprocess.run(["git", "-C", str(root), *question], capture_output=True, text=True, check=False)
        except FileNotFoundError:
            break
        if answer.returncode == 0 and (root / ".git").exists():
            arguments[name] = re.sub(r"//[^/@]*@", "//", answer.stdout.strip())  # an address may carry a password
    return arguments


def base(root: Path, extra: Sequence[str], say: Say) -> dict[str, str]:
    """The build arguments of the base image: its digest and its labels. A base that is on no registry has none, and keeps its name.

    Raises:
        LabError: the base cannot be pulled.
    """
    overrides = [word.removeprefix(BASE_ARGUMENT) for word in extra if word.startswith(BASE_ARGUMENT)]
    named = re.findall(rf"^ARG {BASE_ARGUMENT}(\S+)$", (root / DOCKERFILE).read_text(encoding="utf-8"), re.MULTILINE)
    name: str = (overrides or named)[-1]
    digest = name.partition("@")[2]
    if not digest and not overrides:
        stream(["docker", "pull", "--platform", PLATFORM, name], say, failed=f"the base {name} was not pulled")
    if not digest:
        inspect = ["docker", "image", "inspect", "--format", '{{join .RepoDigests " "}}', name]
        answer = subprocess.run(inspect, capture_output=True, text=True, check=False)
        digest = answer.stdout.strip().partition(" ")[0].partition("@")[2]
    if not digest:
        return {"BASE_NAME": name}
    bare = re.sub(r":[^/:]*$", "", name.partition("@")[0])
    return {"BASE_IMAGE": f"{bare}@{digest}", "BASE_NAME": name.partition("@")[0], "BASE_DIGEST": digest}


def has_buildx() -> bool:
    """Whether docker has buildx. Without it docker builds without attestations, and knows no option against them."""
    return subprocess.run(["docker", "buildx", "version"], capture_output=True, check=False).returncode == 0


def sign_in(registry: str, name: str, password: str) -> None:
    """`docker login`; the password goes through standard input, never through argv."""
    command = ["docker", "login", "--username", name, "--password-stdin", registry]
    answer = subprocess.run(command, input=password, capture_output=True, text=True, check=False)
    if answer.returncode:
        raise LabError(f"{registry} did not let docker in: {last_line(answer.stderr)}", "llmlab doctor")


def check_engine() -> None:
    """Raise `LabError` unless a Docker engine answers."""
    try:
        answer = subprocess.run(
            ["docker", "version", "--format", "{{.Server.Version}}"], capture_output=True, text=True, check=False, timeout=20
        )
    except FileNotFoundError:
        raise LabError("docker is not installed; GitHub Actions can build the image instead", "llmlab init") from None
    except subprocess.TimeoutExpired:
        raise LabError("the Docker engine did not answer within 20 seconds", "docker info") from None
    if answer.returncode:
        raise LabError(f"no Docker engine answers: {last_line(answer.stderr)}", "docker info")


def stream(command: Sequence[str], say: Say, *, failed: str) -> None:
    """Run a command, handing each line of its output to `say`; `LabError` with the last one when it fails."""
    last = ""
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace") as process:
        for line in process.stdout or ():
            say(line.rstrip())
            last = line.strip() or last
    if process.returncode:
        raise LabError(f"{failed}: {last or f'docker ended with {process.returncode}'}", "docker info")


@contextmanager
def context(folder: Path | None) -> Iterator[Path]:
    """The folder to build in: the given one, the clone this runs from, or one made of the installed package.

    Raises:
        UsageError: the given folder has no Dockerfile.
    """
    clone = PACKAGE.parent.parent
    if folder is not None:
        if not (folder / DOCKERFILE).is_file():
            raise UsageError(f"there is no {folder / DOCKERFILE}", "llmlab image build")
        yield folder
    elif (clone / DOCKERFILE).is_file() and (clone / "pyproject.toml").is_file():
        yield clone
    else:
        with tempfile.TemporaryDirectory(prefix="llmlab-image-") as name:
            yield assembled(Path(name))


def assembled(root: Path) -> Path:
    """Write a build context like a clone's from the installed package: only the files that the Dockerfile copies."""
    shutil.copytree(PACKAGE / "docker", root, dirs_exist_ok=True)
    (root / DOCKERFILE).parent.mkdir()
    for name in (DOCKERFILE.name, LAYERS):
        (root / name).replace(root / DOCKERFILE.parent / name)
    shutil.copytree(PACKAGE, root / "src/llmlab", ignore=shutil.ignore_patterns("__pycache__", "docker"))
    (root / "README.md").write_text("llmlab\n", encoding="utf-8")
    return root


def last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1].rstrip(".") if lines else "no reason given"
