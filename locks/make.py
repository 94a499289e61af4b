"""Write the locks with hashes anew, for the versions that `requirements.lock` says.

`everything.lock` is what `make install` takes, `image.lock` the part of it that the training image needs, `agent.lock` what the agent's
does, `cli.lock` what the command line
needs alone, in the workflow that `llmlab init` writes; they hold for every system and
Python, by markers. torch comes in builds that differ by machine: `torch.lock` accepts every published wheel of its version and those in
pip's own `find-links` folders (a build for CPUs), `cuda.lock` holds the libraries that only the build for GPUs asks for.
"""

import re
import subprocess
import sys
from collections.abc import Iterable, Sequence
from hashlib import sha256
from pathlib import Path

ROOT = Path(__file__).parent.parent
TORCH = re.compile(r"torch==(\S+)")
CUDA = re.compile(r"(nvidia-(?!ml-py)|cuda-|triton==)")
"""What torch's build for GPUs brings along; nvidia-ml-py is ours."""
AGENT = ("boto3", "huggingface-hub", "nvidia-ml-py")
"""What the agent imports, in an image of its own."""
HEADS = {
    "everything": "pip install --require-hashes --no-deps -r locks/torch.lock -r locks/everything.lock",
    "image": "pip install --require-hashes --no-deps -r locks/torch.lock -r locks/cuda.lock -r locks/image.lock",
    "cli": "pip install --require-hashes --no-deps -r cli.lock, and llmlab's own wheel",
    "agent": "pip install --require-hashes --no-deps -r locks/agent.lock",
    "torch": "every published build of this version, and the one for CPUs that was found here",
    "cuda": "what the build of torch for GPUs needs, and no other",
}


def compiled(extras: Sequence[str], packages: Sequence[str] = ()) -> list[str]:
    """Each requirement of ours, or of these packages alone, with its hashes, as one string of several lines."""
    command = ["uv", "pip", "compile", "--quiet", "--universal", "--python-version", "3.11", "--generate-hashes", "--no-annotate"]
    command += ["--no-header", "--constraint", str(ROOT / "requirements.lock"), *(word for extra in extras for word in ("--extra", extra))]
    source = "-" if packages else str(ROOT / "pyproject.toml")
    answer = subprocess.run([*command, source], input="\n".join(packages), check=True, capture_output=True, text=True)
    return re.split(r"\n(?=\S)", answer.stdout.strip())


def wheels(version: str) -> Iterable[str]:
    """The hashes of torch's wheels in pip's own folders."""
    answer = subprocess.run([sys.executable, "-m", "pip", "config", "list"], check=True, capture_output=True, text=True)
    folders = re.findall(r"find-links='([^']*)'", answer.stdout)
    for folder in sorted({name.removeprefix("file://") for text in folders for name in text.split()}):
        for wheel in sorted(Path(folder).glob(f"torch-{version}+*.whl")):
            yield f"    --hash=sha256:{sha256(wheel.read_bytes()).hexdigest()}"


def write(name: str, requirements: Iterable[str]) -> None:
    text = "\n".join([f"# made by 'make lock'; {HEADS[name]}", *requirements, ""])
    (ROOT / "locks" / f"{name}.lock").write_text(text, encoding="utf-8")


def main() -> None:
    everything = compiled(("dev", "sandbox", "trainer", "gpu"))
    image = compiled(("trainer", "gpu"))
    (torch,) = [one for one in everything if TORCH.match(one)]
    version = TORCH.match(torch)
    assert version is not None
    write("torch", [" \\\n".join([torch, *wheels(version[1])])])
    write("cuda", [one for one in image if CUDA.match(one)])
    for name, all_of_it in (("everything", everything), ("image", image), ("cli", compiled(())), ("agent", compiled((), AGENT))):
        write(name, [one for one in all_of_it if not TORCH.match(one) and not CUDA.match(one)])


if __name__ == "__main__":
    main()
