"""The images of Docker mode, each built once and kept until its inputs change: a host like EC2's, and the lab's two.

All are built on one base that mmdebstrap makes of Debian packages, so that no registry is needed. The lab's are built by the project's
own Dockerfile through `llmlab image build`; a layer over it adds the only difference from AWS: the sandbox's certificate authority.
"""

import hashlib
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path

import llmlab
from llmlab.contract import Env, Names
from llmlab.errors import LabError
from llmlab.sandbox.estate import packages
from llmlab.sandbox.estate.engine import Engine

Say = Callable[[str], None]
PACKAGE = Path(llmlab.__file__).parent
HOST = Path(__file__).parent / "host"
SUITE = "bookworm"
BASE_PACKAGES = ("ca-certificates", "python3", "python3-venv")
HOST_PACKAGES = (
    "systemd", "systemd-sysv", "dbus", "cloud-init", "curl", "iproute2", "iptables", "tmux", "awscli", "docker.io", "procps", "kmod",
    "python3-botocore", "util-linux", "pigz",
)  # fmt: skip
"""Packages of the host image. pigz: Docker's own packages for Ubuntu recommend it, and its engine unpacks with it."""
STAND_IN = ("sandbox/programs/__init__.py", "sandbox/programs/machine.py", "sandbox/programs/cloudwatch.py")
BUNDLE = "/etc/ssl/certs/ca-certificates.crt"
"""Debian's bundle of certificate authorities, on this computer and in the images."""
LAB = "llmlab-sandbox"
REPOSITORIES = Names(LAB, "", "").repositories
REPOSITORY = REPOSITORIES[0]


class Images:
    """Builds the missing images. An image's reference is `name:hash of its inputs`."""

    def __init__(self, engine: Engine, authority: Path, say: Say) -> None:
        self.engine, self.authority, self.say = engine, authority, say

    def host(self) -> str:
        """The reference of the image that machines run, built if missing."""
        base = self._base()
        files = [HOST.iterdir(), (PACKAGE / name for name in STAND_IN)]
        reference = f"{LAB}-host:{_digest([base, *HOST_PACKAGES], (path for group in files for path in group))}"
        if not self.engine.has(reference):
            self.say("the image of a host is made: systemd, cloud-init, a Docker engine")
            with tempfile.TemporaryDirectory(prefix="llmlab-host-") as name:
                folder = Path(name)
                shutil.copytree(HOST, folder, dirs_exist_ok=True)
                for file in (*STAND_IN, "__init__.py", "sandbox/__init__.py"):
                    (folder / "llmlab" / file).parent.mkdir(parents=True, exist_ok=True)
                    shutil.copy(PACKAGE / file, folder / "llmlab" / file)
                arguments = ["--build-arg", f"BASE_IMAGE={base}", "--build-arg", f"PACKAGES={' '.join(HOST_PACKAGES)}"]
                self._build([*arguments, "--tag", reference, name])
            self._forget_others(reference)
        return reference

    def of_lab(self) -> list[str]:
        """The references of this llmlab's training image (for CPUs) and agent image, built if missing."""
        base = self._base()
        clone = PACKAGE.parent.parent
        locks = next(folder / "locks" for folder in (clone, PACKAGE / "docker") if (folder / "locks").is_dir())
        dockerfile = next(path for path in (clone / "docker/Dockerfile", PACKAGE / "docker/Dockerfile") if path.is_file())
        files = [
            *sorted(locks.glob("*.lock")),
            dockerfile,
            dockerfile.with_name("layers.py"),
            self.authority,
            *sorted(PACKAGE.rglob("*.py")),
        ]
        tag = _digest([base], files)
        references = [f"{repository}:{tag}-here" for repository in REPOSITORIES]
        if not all(self.engine.has(reference) for reference in references):
            self.say("the training image and the agent's are built, which takes minutes the first time")
            with packages.build_arguments() as settings:
                command = [sys.executable, "-m", "llmlab", "image", "build", "--tag", tag]
                command += ["--", "--network", "host", "--build-arg", f"BASE_IMAGE={base}", *settings]
                self.engine.stream(command, failed="the training image was not built", environment={Env.LAB: LAB})
            for repository, reference in zip(REPOSITORIES, references, strict=True):
                plain = f"{repository}:{tag}"
                self._trusting(plain, reference)
                self._forget_others(reference, plain, f"{repository}:latest")
        return references

    def _trusting(self, plain: str, reference: str) -> None:
        """Build the same image with the sandbox's authority trusted by the AWS SDK."""
        user = self.engine.run("image", "inspect", "--format", "{{.Config.User}}", plain)
        place = "/etc/ssl/certs/llmlab-sandbox.pem"
        with tempfile.TemporaryDirectory(prefix="llmlab-trust-") as name:
            shutil.copy(self.authority, Path(name, "authority.pem"))
            lines = [f"FROM {plain}", "USER root", f"COPY authority.pem {place}", f"RUN chmod 644 {place}", f"USER {user}"]
            Path(name, "Dockerfile").write_text("\n".join([*lines, f"ENV AWS_CA_BUNDLE={place}", ""]), encoding="utf-8")
            self._build(["--tag", reference, name])

    def _base(self) -> str:
        """The base image: Debian with Python, and with the authorities this computer trusts, so that packages can be fetched as here."""
        here = Path(BUNDLE)
        reference = f"{LAB}-base:{_digest([SUITE, *BASE_PACKAGES], [here] if here.is_file() else [])}"
        if self.engine.has(reference):
            return reference
        self.say(f"a base image is made of Debian's packages ({SUITE})")
        with tempfile.TemporaryDirectory(prefix="llmlab-base-") as name:
            root = Path(name, "root.tar")
            command = ["mmdebstrap", "--quiet", "--variant=minbase", f"--include={','.join(BASE_PACKAGES)}"]
            if here.is_file():
                command.append(f"--customize-hook=copy-in {here} {here.parent}")
            answer = subprocess.run([*command, SUITE, str(root)], capture_output=True, text=True, check=False)
            if answer.returncode:
                lines = answer.stderr.strip().splitlines()
                raise LabError(f"mmdebstrap failed: {lines[-1] if lines else answer.returncode}", f"mmdebstrap {SUITE} root.tar")
            self.engine.run("import", "--change", f"ENV PIP_CERT={BUNDLE}", str(root), reference)
        self._forget_others(reference)
        return reference

    def _build(self, arguments: list[str]) -> None:
        self.engine.stream(["docker", "build", "--network", "host", *arguments], failed="an image was not built")

    def _forget_others(self, *kept: str) -> None:
        """Untag the older images of the same name."""
        name = kept[0].partition(":")[0]
        for reference in self.engine.run("image", "ls", "--format", "{{.Repository}}:{{.Tag}}", name).split():
            if reference not in kept and not reference.endswith("<none>"):
                self.engine.attempt("image", "rm", reference)
        if self.engine.own:  # remove stages of earlier builds, all but the last few: the next build reuses one of them
            for identity in self.engine.run("image", "ls", "--quiet", "--filter", "dangling=true").split()[3:]:
                self.engine.attempt("image", "rm", identity)


def _digest(words: Iterable[str], files: Iterable[Path]) -> str:
    """Twelve hexadecimal digits of the SHA-256 of an image's inputs."""
    sum_ = hashlib.sha256("\n".join(words).encode())
    for path in sorted(files):
        sum_.update(path.name.encode() + b"\0" + path.read_bytes())
    return sum_.hexdigest()[:12]
