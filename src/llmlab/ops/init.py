"""Write a lab's files into the user's own project: settings, a recipe, and the workflow that pushes the training image.

Nothing is ever overwritten: a file that is there is kept, and told.
"""

import json
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import jinja2

from llmlab import __version__, recipe
from llmlab.config import FILE, Settings
from llmlab.contract import Names
from llmlab.errors import UsageError

RECIPE = Path("recipe.yaml")
WORKFLOW = Path(".github/workflows/build-push-ecr.yml")

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
    """Write what is missing. `values` become settings in `llmlab.toml`; the rest of `settings` is there as comments.

    Raises:
        UsageError: `folder` is a file, or cannot be written to.
    """
    chosen = dict(values)
    github = settings.github or origin(folder)
    if github and "github" not in chosen:
        chosen["github"] = github
    files = {
        FILE: settings_text(chosen),
        RECIPE: recipe_text(),
        WORKFLOW: workflow(settings.model_copy(update=chosen)),
    }
    written, kept = [], []
    try:
        for path, text in files.items():
            target = folder / path
            target.parent.mkdir(parents=True, exist_ok=True)
            try:
                with target.open("x", encoding="utf-8") as file:
                    file.write(text)
                written.append(str(path))
            except FileExistsError:
                kept.append(str(path))
    except OSError as error:
        raise UsageError(f"{error.filename} cannot be written: {error.strerror}", "llmlab init FOLDER") from error
    return Initialised(str(folder), tuple(written), tuple(kept), github)


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
        "role": names.github_role, "repository": names.repository, "version": __version__,
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
    _, found, path = url.partition("github.com")
    return path[1:] if found and path.count("/") in {1, 2} and path[:1] in {":", "/"} and path[1:].count("/") == 1 else None
