"""Write a lab's files into the user's own project: settings, a recipe, and the workflow that pushes the training image.

The workflow installs the llmlab that wrote it: a wheel of what is installed here lies beside it, and a lock with the hash of each package.

Nothing is ever overwritten: a file that exists is kept, and reported.
"""

import json
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import jinja2

from llmlab import recipe
from llmlab.config import FILE, Settings
from llmlab.contract import Names
from llmlab.errors import UsageError
from llmlab.ops import wheel

RECIPE = Path("recipe.yaml")
WORKFLOW = Path(".github/workflows/build-push-ecr.yml")
INSTALLED = Path(".github/llmlab")
"""The folder in the user's project with the wheel that the workflow installs, and its lock."""

TEMPLATES = jinja2.Environment(  # [[ ]], because GitHub's own expressions are {{ }}
    loader=jinja2.FileSystemLoader(Path(__file__).parent.parent / "templates"),
    undefined=jinja2.StrictUndefined,
    autoescape=False,  # noqa: S701 - YAML, of values that the settings' patterns allow
    variable_start_string="[[",
    variable_end_string="]]",
    keep_trailing_newline=True,
)


@dataclass(frozen=True)
class Initialised:
    """Paths relative to `folder`."""

    folder: str
    written: tuple[str, ...]
    kept: tuple[str, ...]
    github: str | None


def init(folder: Path, values: Mapping[str, str | float], settings: Settings) -> Initialised:
    """Write the files that are missing. `values` become settings in `llmlab.toml`; the rest of `settings` is there as comments.

    Raises:
        UsageError: `folder` is a file, or cannot be written to.
    """
    chosen = dict(values)
    github = settings.github or origin(folder)
    if github and "github" not in chosen:
        chosen["github"] = github
    lying = folder / INSTALLED / wheel.NAME
    body = lying.read_bytes() if lying.is_file() else wheel.build()
    files = {
        Path(FILE): settings_text(chosen).encode(),
        RECIPE: recipe_text().encode(),
        WORKFLOW: workflow(settings.model_copy(update=chosen)).encode(),
        INSTALLED / wheel.NAME: body,
        INSTALLED / "requirements.lock": lock_text(body).encode(),
    }
    written, kept = [], []
    try:
        for path, contents in files.items():
            target = folder / path
            target.parent.mkdir(parents=True, exist_ok=True)
            try:
                with target.open("xb") as file:
                    file.write(contents)
                written.append(str(path))
            except FileExistsError:
                kept.append(str(path))
    except OSError as error:
        raise UsageError(f"{error.filename} cannot be written: {error.strerror}", "llmlab init FOLDER") from error
    return Initialised(str(folder), tuple(written), tuple(kept), github)


def lock_text(body: bytes) -> str:
    """The lock of the packages that the workflow installs, by hash: the wheel of these bytes, and what the command line needs."""
    return (
        f"# What the workflow {WORKFLOW.name} installs. To install a newer llmlab there: remove this folder, and `llmlab init`.\n"
        f"{INSTALLED.as_posix()}/{wheel.NAME} --hash=sha256:{sha256(body).hexdigest()}\n{wheel.lock()}"
    )


def recipe_text() -> str:
    """The default recipe, and below it the others by name."""
    others = [f"#   {name:<10} {recipe.about(name)}" for name in recipe.shipped() if name != recipe.DEFAULT]
    own = recipe.find(None).read_text(encoding="utf-8")
    return "\n".join([own, "# Others that llmlab ships, for `llmlab launch --recipe NAME`:", *others, ""])


def settings_text(values: Mapping[str, str | float]) -> str:
    """`llmlab.toml`: each setting with what it means; those not chosen as comments with their default."""
    lines = [
        "# Settings of this lab. A flag or LLMLAB_<KEY> in the environment goes before this file; `llmlab config` shows what holds.",
        "",
    ]
    for key, field in Settings.model_fields.items():
        default = field.default
        lines.append(f"# {field.description}")
        if key in values:
            lines.append(f"{key} = {toml(values[key])}")
        else:
            lines.append(f"# {key} = {toml(default) if default is not None else toml('…')}")
        lines.append("")
    return "\n".join(lines)


def toml(value: object) -> str:
    """A string, number or tuple of strings as TOML, whose basic forms are JSON's."""
    return json.dumps(list(value) if isinstance(value, tuple) else value, ensure_ascii=False)


def workflow(settings: Settings) -> str:
    """The GitHub workflow; the account's number is a repository variable, because it is known only to who bootstraps."""
    region = settings.region or "us-east-1"
    names = Names(settings.lab, "ACCOUNT", region)
    facts = {
        "branch": settings.github_branch, "lab": settings.lab, "region": region,
        "role": names.github_role, "repositories": " ".join(names.repositories), "folder": INSTALLED.as_posix(),
    }  # fmt: skip
    return TEMPLATES.get_template("build-push-ecr.yml.j2").render(facts)


def origin(folder: Path) -> str | None:
    """`owner/repository` of the folder's git remote on GitHub, if it has one."""
    try:
        answer = subprocess.run(
            ["git", "-C", str(folder), "remote", "get-url", "origin"], capture_output=True, text=True, check=False, timeout=10
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    url = answer.stdout.strip().removesuffix(".git")
    _, host, path = url.partition("github.com")
    return path[1:] if host and path.count("/") in {1, 2} and path[:1] in {":", "/"} and path[1:].count("/") == 1 else None
