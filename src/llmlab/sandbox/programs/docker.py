"""Stand-in for the docker command: containers are processes of the sandbox's own Python, images are those of its ECR.

`bridge` is a network without credentials and without metadata, `host` has both, `none` is a loopback alone. Container paths become host
paths in the environment and arguments of a container. Started by root, it runs as another user than the machine's root (`containment`);
it is not isolated otherwise.
"""

import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

sys.path.insert(0, str(Path(__file__).parents[3]))
from llmlab.contract import IMAGE_LABEL, VERSION, Env
from llmlab.sandbox.programs import containment
from llmlab.sandbox.programs.machine import FOLDER, call, detach, die, forget

CONTAINERS = FOLDER / "containers"
FLAGS = {"-d", "--detach", "--rm", "-i", "-t", "-it", "--init", "--privileged", "-q", "--quiet", "--interactive", "--tty", "--read-only"}
PLAIN = {
    "--name": "name", "--network": "network", "--net": "network", "-u": "user", "--user": "user", "-w": "directory",
    "--workdir": "directory",
}  # fmt: skip
"""Command line options whose value is stored in one field of `Options`."""
SIGNALLED = 128
USER = "10001:10001"
"""The user of the training image, where the command line names no other."""


def main() -> None:
    words = sys.argv[1:]
    while words and words[0].startswith("-"):
        words.pop(0)
    verb = words[0] if words else ""
    verbs = {
        "login": login, "pull": pull, "run": run, "wait": wait, "logs": logs, "inspect": inspect, "stop": stop, "kill": kill, "rm": remove,
        "ps": listing, "info": info, "version": version, "system": info, "image": image, "images": info, "logout": info, "_shim": shim,
    }  # fmt: skip
    if verb not in verbs:
        die(f"docker: '{verb}' is not a docker command.\nSee 'docker --help'")
    verbs[verb](words[1:])


# ---------------------------------------------------------------- images


def login(words: list[str]) -> None:
    password = sys.stdin.read().strip() if "--password-stdin" in words else words[-1]
    if not password:
        die("Error: Cannot perform an interactive login from a non TTY device")
    (FOLDER / "docker-login").write_text(words[-1], encoding="utf-8")
    say("Login Succeeded")


def pull(words: list[str]) -> None:
    reference = words[-1]
    check_image(reference, "pull")
    with (FOLDER / "pulled").open("a", encoding="utf-8") as pulled:
        pulled.write(f"{reference}\n")
    say(reference)


def check_image(reference: str, verb: str) -> None:
    """Fail as docker's daemon would when the sandbox's registry does not have the image."""
    status, answer = call("GET", f"image?verb={verb}&reference={quote(reference, safe='')}")
    if status != 200:
        die(
            f"Error response from daemon: {answer['error']}"
            if verb == "pull"
            else f"docker: Error response from daemon: {answer['error']}.",
            1 if verb == "pull" else 125,
        )
    if verb == "pull" and not (FOLDER / "docker-login").exists():
        die(f'Error response from daemon: Head "https://{reference}": no basic auth credentials')


def image(words: list[str]) -> None:
    """`image ls` of pulled images; `image inspect` with a format, of an image that runs this llmlab on this computer's architecture."""
    if words[:1] == ["ls"]:
        sys.stdout.write((FOLDER / "pulled").read_text(encoding="utf-8") if (FOLDER / "pulled").exists() else "")
        return
    if words[:1] != ["inspect"]:
        info(words)
        return
    check_image(words[-1], "inspect")
    machine = platform.machine()
    facts = {
        "{{.Architecture}}": {"x86_64": "amd64", "aarch64": "arm64"}.get(machine, machine),
        f'{{{{index .Config.Labels "{IMAGE_LABEL}"}}}}': str(VERSION),
    }
    text = words[words.index("-f") + 1]
    for key, value in facts.items():
        text = text.replace(key, value)
    say(text)


# ---------------------------------------------------------------- run


@dataclass
class Options:
    name: str = ""
    network: str = "bridge"
    user: str = USER
    detached: bool = False
    remove: bool = False
    mounts: list[tuple[str, str]] = field(default_factory=list)
    environment: dict[str, str] = field(default_factory=dict)
    image: str = ""
    command: list[str] = field(default_factory=list)
    directory: str = ""


def parse(words: list[str]) -> Options:
    options = Options()
    words = list(words)
    while words and words[0].startswith("-"):
        option, equals, value = words.pop(0).partition("=")
        if option in FLAGS:
            options.detached |= option in {"-d", "--detach"}
            options.remove |= option == "--rm"
            continue
        value = value if equals else words.pop(0)
        if option in PLAIN:
            setattr(options, PLAIN[option], value)
        elif option in {"-v", "--volume"}:
            host, container, *_ = value.split(":")
            options.mounts.append((container.rstrip("/"), host))
        elif option == "--mount":
            facts = dict(item.partition("=")[::2] for item in value.split(","))
            options.mounts.append(((facts.get("target") or facts["dst"]).rstrip("/"), facts.get("source") or facts["src"]))
        elif option in {"-e", "--env"}:
            name, assigned, text = value.partition("=")
            if assigned:
                options.environment[name] = text
            elif name in os.environ:
                options.environment[name] = os.environ[name]
    if not words:
        die('"docker run" requires at least 1 argument.', 125)
    options.image, *options.command = words
    return options


def run(words: list[str]) -> None:
    options = parse(words)
    check_image(options.image, "run")
    name = options.name or f"container-{os.getpid()}"
    folder = CONTAINERS / name
    try:
        folder.mkdir(parents=True)
    except FileExistsError:
        die(f'docker: Error response from daemon: Conflict. The container name "/{name}" is already in use.', 125)
    if not options.command:
        die("docker: Error response from daemon: no command specified.", 125)
    root = folder / "root"
    mount(options.mounts, root)
    inside = Inside(options.mounts, root)
    before = containment.command(
        options.user, options.network, [folder, Path(__file__), Path(os.environ["SANDBOX_PYTHON"]), Path(os.__file__)]
    )
    for place in ("home", "tmp"):
        (folder / place).mkdir()
        if before:
            os.chown(folder / place, *(int(number) for number in options.user.split(":")))
    command = [inside.path(word) for word in options.command]
    if Path(command[0]).name in {"python", "python3"}:
        command[0] = os.environ["SANDBOX_PYTHON"]
    spec = {
        "command": [*before, *command],
        "environment": environment(options, inside, folder),
        "directory": inside.path(options.directory) if options.directory else str(folder / "home"),
        "remove": options.remove,
    }
    (folder / "spec.json").write_text(json.dumps(spec), encoding="utf-8")
    (folder / "log").touch()
    detach([os.environ["SANDBOX_PYTHON"], "-I", "-S", __file__, "_shim", str(folder)], folder / "shim.log")
    if options.detached:
        say(f"{name}-{os.getpid():012x}")
        return
    follow(folder, sys.stdout, following=True)
    sys.exit(exit_code(folder))


def mount(mounts: list[tuple[str, str]], root: Path) -> None:
    """Link host folders under the container's root, so that folders above a mount point exist too."""
    for container, host in sorted(mounts):
        source = Path(host)
        if not source.exists():
            source.mkdir(parents=True)
        target = root / container.lstrip("/")
        if target.exists():
            if target.resolve() != source.resolve():
                overlay(target, source)
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        target.symlink_to(source)


def overlay(target: Path, source: Path) -> None:
    """Mount over a folder inside another mount: docker would hide the folder, a link must replace it, so it must be empty."""
    if target.is_symlink() or not target.is_dir() or any(target.iterdir()):
        die(f"docker: Error response from daemon: the sandbox cannot mount {source} over {target.resolve()}.", 125)
    target.rmdir()
    target.symlink_to(source)


@dataclass(frozen=True)
class Inside:
    """Translates container paths to host paths."""

    mounts: list[tuple[str, str]]
    root: Path

    def path(self, text: str) -> str:
        if not text.startswith("/"):
            return text
        for container, host in sorted(self.mounts, reverse=True):
            if text == container or text.startswith(container + "/"):
                return host.rstrip("/") + text[len(container) :]
        if any(container.startswith(text.rstrip("/") + "/") for container, _ in self.mounts):
            return str(self.root) + text
        return text


def environment(options: Options, inside: Inside, folder: Path) -> dict[str, str]:
    variables = {name: inside.path(value) for name, value in options.environment.items()}
    base = {
        "PATH": os.environ.get("SANDBOX_PATH", os.defpath),
        "HOME": str(folder / "home"),
        "TMPDIR": str(folder / "tmp"),
        "LANG": "C.UTF-8",
        "HOSTNAME": folder.name,
        "PYTHONPATH": os.environ.get("SANDBOX_PYTHONPATH", ""),
        "PYTHONUNBUFFERED": "1",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    }
    if options.network != "host":
        variables = {name: value for name, value in variables.items() if not name.startswith("AWS_")}
        base["AWS_EC2_METADATA_DISABLED"] = "true"
    _, gpus = call("GET", "gpus")
    if gpus["seen"]:
        base[Env.GPUS] = gpus["seen"]
    return {**base, **variables}


def shim(words: list[str]) -> None:
    """Run a container's process and record its exit code, as containerd's shim does."""
    folder = Path(words[0])
    spec = json.loads((folder / "spec.json").read_text(encoding="utf-8"))
    signal.signal(signal.SIGTERM, lambda *_: None)  # the machine shuts down: wait for the container to end
    with (folder / "log").open("ab", buffering=0) as log:
        try:
            process = subprocess.Popen(
                spec["command"],
                env=spec["environment"],
                cwd=spec["directory"],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        except OSError as error:
            log.write(f"exec: {error}\n".encode())
            code = 127
        else:
            (FOLDER / "groups" / str(process.pid)).touch()
            (folder / "pid").write_text(str(process.pid), encoding="ascii")
            code = process.wait()
            forget(process.pid)
    code = SIGNALLED - code if code < 0 else code
    part = folder / "exit.part"
    part.write_text(str(code), encoding="ascii")
    part.rename(folder / "exit")
    if spec["remove"]:
        time.sleep(1)  # noqa: TID251 - who waits for it reads its code first
        shutil.rmtree(folder, ignore_errors=True)
    forget(os.getpid())


# ---------------------------------------------------------------- containers that are


def find(name: str) -> Path:
    folder = CONTAINERS / name
    if not name or not (folder / "spec.json").exists():
        die(f"Error response from daemon: No such container: {name}")
    return folder


def exit_code(folder: Path) -> int:
    while not (folder / "exit").exists():
        time.sleep(0.05)  # noqa: TID251 - a program of its own
    return int((folder / "exit").read_text(encoding="ascii"))


def wait(words: list[str]) -> None:
    for name in words:
        say(str(exit_code(find(name))))


def logs(words: list[str]) -> None:
    names = [word for word in words if not word.startswith("-") and not word.isdigit()]
    follow(find(names[-1]), sys.stdout, following="-f" in words or "--follow" in words)


def follow(folder: Path, output: Any, *, following: bool) -> None:
    with (folder / "log").open("rb") as log:
        while True:
            ended = (folder / "exit").exists()
            data = log.read()
            if data:
                output.buffer.write(data)
                output.buffer.flush()
            elif ended or not following:
                return
            else:
                time.sleep(0.1)  # noqa: TID251 - a program of its own


def inspect(words: list[str]) -> None:
    template = ""
    names = []
    words = list(words)
    while words:
        word = words.pop(0)
        if word in {"-f", "--format"}:
            template = words.pop(0)
        elif word.startswith(("-f=", "--format=")):
            template = word.partition("=")[2]
        elif not word.startswith("-"):
            names.append(word)
    for name in names:
        folder = find(name)
        ended = (folder / "exit").exists()
        state = {
            "Status": "exited" if ended else "running",
            "Running": not ended,
            "OOMKilled": (folder / "oom").exists(),
            "ExitCode": exit_code(folder) if ended else 0,
        }
        if not template:
            say(json.dumps([{"Name": f"/{name}", "State": state}], indent=4))
            continue
        text = template
        for key, value in state.items():
            text = text.replace("{{.State." + key + "}}", str(value).lower() if isinstance(value, bool) else str(value))
        say(text)


def stop(words: list[str]) -> None:
    seconds = 10.0
    words = list(words)
    while words and words[0].startswith("-"):
        option, _, value = words.pop(0).partition("=")
        if option in {"-t", "--time", "--timeout"}:
            seconds = float(value or words.pop(0))
    for name in words:
        folder = find(name)
        signal_container(folder, signal.SIGTERM)
        until = time.monotonic() + seconds
        while not (folder / "exit").exists() and time.monotonic() < until:
            time.sleep(0.05)  # noqa: TID251 - a program of its own
        if not (folder / "exit").exists():
            signal_container(folder, signal.SIGKILL, group=True)
            exit_code(folder)
        say(name)


def kill(words: list[str]) -> None:
    for name in [word for word in words if not word.startswith("-")]:
        signal_container(find(name), signal.SIGKILL, group=True)
        say(name)


def signal_container(folder: Path, number: signal.Signals, *, group: bool = False) -> None:
    until = time.monotonic() + 5
    while not (folder / "pid").exists() and not (folder / "exit").exists() and time.monotonic() < until:
        time.sleep(0.02)  # noqa: TID251 - a program of its own
    if (folder / "exit").exists() or not (folder / "pid").exists():
        return
    pid = int((folder / "pid").read_text(encoding="ascii"))
    try:
        (os.killpg if group else os.kill)(pid, number)
    except (ProcessLookupError, PermissionError):
        return


def remove(words: list[str]) -> None:
    for name in [word for word in words if not word.startswith("-")]:
        folder = find(name)
        if not (folder / "exit").exists():
            if not {"-f", "--force"} & set(words):
                die(f'Error response from daemon: cannot remove container "/{name}": container is running: stop it or force remove')
            signal_container(folder, signal.SIGKILL, group=True)
            exit_code(folder)
        shutil.rmtree(folder, ignore_errors=True)
        say(name)


def listing(words: list[str]) -> None:
    for folder in sorted(CONTAINERS.iterdir()) if CONTAINERS.exists() else []:
        running = not (folder / "exit").exists()
        if running or "-a" in words:
            say(folder.name if "-q" in words or "-aq" in words else f"{folder.name}\t{'Up' if running else 'Exited'}")


def version(words: list[str]) -> None:
    status, answer = call("GET", "engine")
    if status != 200:
        die(answer["error"])
    say(answer["version"])


def info(words: list[str]) -> None:
    say("Server Version: sandbox")


def say(text: str) -> None:
    print(text, flush=True)  # noqa: T201 - a program of its own


if __name__ == "__main__":
    main()
