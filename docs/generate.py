"""Writes the pages of docs/ that are said elsewhere already: the commands, settings, recipe fields, resources, permissions and refusals.

`make docs` writes them, a test compares them.
"""

import inspect
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import typer
from pydantic import BaseModel

from llmlab import recipe as recipes, stack
from llmlab.aws import policies, policies_boundary, policies_operator
from llmlab.aws.owned import AwsResource
from llmlab.aws.policies_documents import ANYWHERE, document
from llmlab.aws.session import Aws
from llmlab.cli import GLOBAL_OPTIONS, app
from llmlab.clock import ManualClock
from llmlab.commands import schemas
from llmlab.config import Settings
from llmlab.contract import PROJECT, Names
from llmlab.dataset.forms import shown as forms
from llmlab.errors import ExitCode
from llmlab.recipe import SECTIONS, Recipe
from llmlab.rewards.listed import LISTED
from llmlab.sandbox.refusals.rule import On, Rule
from llmlab.sandbox.refusals.table import ROWS

HERE = Path(__file__).parent
NOTE = "<!-- written by docs/generate.py: `make docs` -->\n"
NAMES = Names(PROJECT, "ACCOUNT", "REGION")
REFUSED = (
    (On.ALWAYS, "Always", "In every sandbox."),
    (On.NAMED, "By name", "What only some accounts or moments meet: `llmlab sandbox exec --refuse ROW -- COMMAND`."),
    (On.NEW_ACCOUNT, "In a new account", "All together by `llmlab sandbox exec --mode new-account -- COMMAND`, and each by name."),
)


def pages() -> dict[str, str]:
    """File name → text."""
    return {
        "cli.md": cli(),
        "config.md": config(),
        "data.md": data(),
        "recipe.md": recipe(),
        "resources.md": resources(),
        "permissions.md": permissions(),
        "json.md": NOTE + "\n" + "".join(schemas.page()),
        "refusals.md": refusals(),
    } | {schemas.file_of(form): json.dumps(schemas.schema(form), indent=1, ensure_ascii=False) + "\n" for form in schemas.FORMS}


def cli() -> str:
    root: Any = typer.main.get_command(app)
    parts = [NOTE, "# Commands\n", "Options that may stand anywhere on the line:\n"]
    parts.append(table(("option", ""), [(f"`{option}`", text) for option, text in GLOBAL_OPTIONS]))
    parts.append("\nEvery command exits with one of:\n")
    parts.append(table(("code", ""), [(str(int(code)), code.name.lower().replace("_", " ")) for code in ExitCode]))
    context = root.make_context("llmlab", [], resilient_parsing=True)
    for path, command in walk(root, context):
        name = " ".join(("llmlab", *path))
        own = command.make_context(name, [], resilient_parsing=True, terminal_width=100)
        parts.append(f"\n## {name}\n\n```text\n{own.get_help()}\n```\n")
    return "\n".join(parts)


def walk(group: Any, context: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every command that is no group, in the order of the help."""
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if hasattr(command, "list_commands"):
            yield from walk(command, context, (*path, name))
        else:
            yield (*path, name), command


def config() -> str:
    rows = [
        (f"`{key}`", shown(field.default), field.description or "", limits(Settings, key), f"`LLMLAB_{key.upper()}`")
        for key, field in Settings.model_fields.items()
    ]
    return (
        f"{NOTE}\n# Settings\n\nA flag goes before `LLMLAB_*` in the environment, that before `llmlab.toml`, that before the default.\n"
        "Unknown keys and variables are refused. `llmlab config` shows each value and where it came from.\n\n"
        + table(("key", "default", "what it is", "may be", "environment"), rows)
    )


def data() -> str:
    parts = [
        NOTE,
        "# Data\n",
        "A dataset is a file, or a folder of them, of rows. `llmlab validate PATH` says of each row what it is or why it cannot be",
        "trained on; `llmlab validate --forms` prints this page's table.\n",
        "A row is told by its keys, in the order below; a key that is null counts as absent. Keys of a row or a message that are",
        "neither read nor known to say nothing (an id, a source, a score) are named and counted. Those that change what a row means",
        "(pictures, labels, weights, histories, the worse answer) are read, or the row is refused.\n",
        "Files are `.jsonl`, `.ndjson`, `.json` (an array of rows, or lines) and `.csv`, each perhaps packed as `.gz`, `.zst`, `.bz2` or",
        "`.xz`, `.parquet`, and `.arrow` as `datasets` saves to disk. Hidden files, `outputs/`, links to folders and what is no data are",
        "passed over, each told with its reason. Names tell the parts of a dataset as on the Hub: files named valid, val or dev are the",
        "held-out data, files named test or eval are never trained on.\n",
        "Every file is uploaded byte for byte, but for two: transcripts, and logs with requests that repeat each other, go as rows of",
        "messages, each with the file and line it comes from, which reasons on the machine name. An answer that was cut off at the limit",
        "of its length is learned without its end of turn. The nulls that Parquet and Arrow fill structs with are taken away; JSON text",
        "in a column keeps its nulls.\n",
    ]
    for name, keys, becomes, examples, sources in forms():
        parts.append(f"## {name}\n\n{keys}: {becomes}.\n\n```json")
        parts += [json.dumps(example, ensure_ascii=False) for example in examples]
        parts.append("```\n\n" + "Described at " + ", ".join(f"<{source}>" for source in sources) + ".\n")
    return "\n".join(parts)


def recipe() -> str:
    def rows(model: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, ...]]:
        for key, field in model.model_fields.items():
            if prefix == "" and key in SECTIONS:
                yield from rows(SECTIONS[key], f"{key}.")
            else:
                default = "required" if field.is_required() else shown(field.default)
                yield f"`{prefix}{key}`", default, field.description or "", limits(model, key)

    return (
        f"{NOTE}\n# Recipe\n\nWhat to train, as YAML. `--set lora.rank=8` overrides one field for one launch.\n\n"
        + table(("field", "default", "what it is", "may be"), list(rows(Recipe)))
        + which()
        + rewarded()
        + "\n## Recipes that ship\n\n`llmlab launch --recipe NAME`; `llmlab init` writes the first into your project.\n\n"
        + shipped()
    )


def which() -> str:
    """When to use which objective and whose training loop, and what an interruption leaves exact."""
    objectives = (
        ("answers to imitate: chats, pairs, texts", "`sft`", "llmlab's own loop, or `engine: trl` (SFTTrainer)"),
        ("two answers to a prompt, a better and a worse one", "`dpo`", "llmlab's own loop, or `engine: trl` (DPOTrainer)"),
        ("single answers, each labelled good or bad", "`kto`", "TRL's KTOTrainer, whatever `engine` says"),
        ("prompts, and what tells a good answer when it is given", "`grpo`", "TRL's GRPOTrainer, whatever `engine` says"),
    )
    kept = (
        ("order of the data, steps, epochs, tokens, learning rate, random numbers", "exact", "exact", "exact"),
        ("weights, optimizer, the best step and patience", "exact", "exact", "exact"),
        ("losses, gradient norms, evaluations", *["bit by bit"] * 3),
        ("when an evaluation is done that a notice left no time for", *["by the next machine, in a row of its own; the same numbers"] * 3),
        ("margins, rewards of good and bad answers, KL", "bit by bit (`dpo`: margin)", "bit by bit", ""),
        ("completions and their lengths, rewards, entropy, KL", "", "", "bit by bit, as far as a reward answers the same again"),
        ("groups whose completions all got the same reward, as the log counts them", "", "", "not: from the attempt's first step on"),
        ("what a reward's file keeps in its process or folder", "", "", "not: each attempt has a new process"),
        ("seconds, tokens a second, memory", *["not: of the machine that it was"] * 3),
        ("TRL's own state and logs", "", *["none is kept: steps, optimizer and order are llmlab's"] * 2),
    )
    return f"""
## Which objective, whose loop

{table(("you have", "objective", "is trained by"), objectives)}
`engine: own` is the faster one (documents packed into rows, fused norms and gates) and divides a step over several GPUs. `engine: trl` is
for who wants TRL's own numbers, to compare with a script, on one GPU: it pads, can leave no step out (`on_bad_loss: stop` alone) and has no
`dpo.label_smoothing`. The losses of both are the same within 1e-5 over 20 steps in 32 bits; only where the batches of a step are not
equally large do TRL's DPO and KTO weigh otherwise, as the mean of the batches' means.

What is usual is measured for `kto` on the other answers of a batch, so `batch_size` is 2 at least, and better 4 or more. TRL pairs each
question with the answer before it in the order of the data; here that order is shuffled anew in each epoch.

Interrupted at any moment and resumed from the newest whole checkpoint, beside a run that nobody interrupted, on a CPU:

{table(("", "`engine: own`", "`engine: trl`, `kto`", "`grpo`"), kept)}
Steps after that checkpoint are trained again, and come out the same. `make prove ARGS=objectives` takes the machines of each objective's
runs back at ten random moments and compares every row and column of the metrics; its counts are in `benchmarks/RESULTS.md`.
On GPUs attention's way back and `index_add` sum in no fixed order, so that losses there differ by rounding.
"""


def rewarded() -> str:
    """The rewards of `objective: grpo`: which there are, how a file's is called, and what it is kept from."""
    listed = [(f"`{name}`", sentence(LISTED[name])) for name in LISTED]
    return f"""
## Rewards

With `objective: grpo` each prompt is answered `grpo.num_generations` times, and what earns more than the others of its group becomes
likelier. `batch_size x accumulate` are completions there, whole groups of them; the dataset has rows of `prompt` and `answer`, or any chat
that ends with an answer. transformers makes the completions: vLLM cannot be in the image yet, because TRL 1.16 takes versions up to 0.31,
which wants transformers before 5.18 and setuptools before 81, and the locks have 5.23 and 84.

What a completion is worth is the sum of `grpo.rewards` by their weights:

{table(("reward", "is"), listed)}
Or a Python file beside the recipe with one function (or one that is called `reward`), called as TRL calls one for each prompt:

```python
def reward(completions, answer, **columns):
    return [float(said.strip() == right) for said, right in zip(completions, answer)]
```

`prompts`, `completions`, `answer` and each other key of the row are lists of one length, as many as the prompt has completions; prompts and
completions are strings where the row's prompt is one, else messages. It returns a number for each completion. The file travels with the
run, with its SHA-256, and may import what the training image has.

All rewards are computed in a process of their own, which has `grpo.reward_seconds` for the completions of a prompt and
`grpo.reward_memory_gib` of memory, no environment, no network, starts no programs, and reads and writes no files but those of Python and of
an empty folder: by Landlock and a filter of system calls on Linux, and as a user of its own where it is root. What of this a system cannot
hold is said. What it prints is thrown away. A reward that raises, does not end, or returns anything but a finite number for each completion
ends the run as `data_error`, with the row.

`llmlab validate data/` tries the recipe's rewards on the rows, `--reward FILE` any file, each on the row's own answer and on an empty
completion: a reward that does not tell these apart teaches little. Where all completions of a group get the same reward nothing is learned
from them; the log counts such groups.
"""


def shipped() -> str:
    names = sorted(recipes.shipped(), key=lambda name: (name != recipes.DEFAULT, name))
    return table(
        ("name", "model", "what it is for"), [(f"`{name}`", f"`{recipes.load(name).model}`", recipes.about(name)) for name in names]
    )


def resources() -> str:
    rows = [
        (one.kind, f"`{one.name}`", "kept" if one.retained else "the account's" if one.shared else "removed", sentence(type(one)))
        for one in lab()
    ]
    return (
        f"{NOTE}\n# What a lab owns\n\nIn the order of `bootstrap`; `teardown` goes the other way. Names are those of the default lab.\n\n"
        + table(("kind", "name", "teardown", "what it is for"), rows)
    )


def permissions() -> str:
    parts = [NOTE, "# Who may do what\n", "Each role has this one policy and nothing else; ACCOUNT and REGION stand for yours.\n"]
    parts.append("[least-privilege.md](least-privilege.md) tells which call uses each action, and what was tried and is denied.\n")
    for title, policy in (
        ("The instance", policies.instance(NAMES)),
        ("The watchdog", policies.watchdog(NAMES)),
        ("The scheduler", policies.scheduler(NAMES)),
        ("GitHub Actions", policies.github_push(NAMES)),
        ("The operator", document(policies_operator.operator(NAMES, stack.RESOURCES))),
        ("The boundary of the four roles", policies_boundary.boundary(NAMES)),
    ):
        parts.append(f"## {title}\n")
        rows = [(one["Sid"], listed(one["Action"]), where(one), condition(one.get("Condition"))) for one in policy["Statement"]]
        parts.append(table(("for", "may", "on", "when"), rows) + "\n")
    parts.append(
        "The operator is whoever runs `llmlab`. `llmlab bootstrap --print-operator-policy` prints these policies for a lab, in as many "
        "documents as IAM's size asks for, and the boundary. With the boundary made, `llmlab bootstrap --permissions-boundary ARN` makes "
        "every role within it; the operator's policy allows no other. An administrator makes them all with\n\n```\n"
        "llmlab bootstrap --print-operator-policy > policies.json\n"
        "for name in $(jq -r 'keys[]' policies.json); do\n"
        "  aws iam create-policy --policy-name $name --policy-document \"$(jq --arg name $name '.[$name]' policies.json)\"\n"
        "done\n```\n\nand attaches those called operator to whoever runs `llmlab`.\n\n## Who may become a role\n"
    )
    trust = policies.trust_github("ACCOUNT", "OWNER/REPOSITORY", "main", "OWNER_ID/REPOSITORY_ID")
    parts.append(f"GitHub signs in with a token for one repository and branch:\n\n```json\n{json.dumps(trust, indent=2)}\n```\n")
    parts.append(f"Scheduler, for the lab's own schedules:\n\n```json\n{json.dumps(policies.trust_scheduler(NAMES), indent=2)}\n```\n")
    parts.append(
        "EC2 and Lambda, each for its one role: they take only roles of their own account, which somebody there has passed to them.\n"
    )
    return "\n".join(parts)


def refusals() -> str:
    """The sandbox's table, by when a row holds."""
    parts = [
        NOTE,
        "# What AWS refuses\n",
        f"The sandbox answers these {len(ROWS)} requests as AWS does and not as moto would, each with AWS's code and sentence, by the",
        "source beside it; what stands in braces is filled in. A test provokes every row.",
        "`python -m llmlab.sandbox.refusals` prints the table.\n",
    ]
    for on, title, words in REFUSED:
        rows = [one for one in ROWS if one.on is on]
        parts.append(f"## {title}\n\n{words} {len(rows)} rows.\n")
        parts.append(table(("row", "request", "when", "answer", "what gets past it"), [_refusal(one) for one in rows]))
    return "\n".join(parts)


def _refusal(rule: Rule) -> tuple[str, ...]:
    operations = "<br>".join(f"`{operation}`" for operation in rule.operations)
    message = rule.message.replace("{{", "{").replace("}}", "}")
    answer = f"`{rule.code}`: {message}" if rule.code else message
    return f"[`{rule.name}`]({rule.source})", operations, rule.when, answer, str(rule.until)


def where(statement: Mapping[str, Any]) -> str:
    """The resources, and why where it is all of them."""
    return f"`*`: {ANYWHERE[statement['Sid']]}" if statement["Resource"] == "*" else listed(statement["Resource"])


def lab() -> Sequence[AwsResource]:
    """A lab with every option on, on an account that is never asked."""
    aws = Aws("us-east-1", lab=PROJECT)
    aws.__dict__["account"] = "123456789012"
    settings = Settings(email="you@example.com", github="owner/repository")
    return stack.build(settings, aws, ManualClock(datetime(2026, 1, 1, tzinfo=UTC)))


def table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [columns, ["---"] * len(columns), *rows]
    return "".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |\n" for line in lines)


def sentence(kind: object) -> str:
    """The first paragraph of a docstring, on one line."""
    return " ".join((inspect.getdoc(kind) or "").split("\n\n")[0].split())


def shown(value: object) -> str:
    if value is None or value == () or type(value).__name__ == "PydanticUndefinedType":
        return ""
    return f"`{', '.join(value) if isinstance(value, tuple) else value}`"


def limits(model: type[BaseModel], key: str) -> str:
    """What the schema allows, in words."""
    schema = model.model_json_schema()["properties"][key]
    found = [part for part in schema.get("anyOf", [schema]) if part.get("type") != "null"]
    words = [", ".join(f"`{item}`" for item in part["enum"]) for part in found if "enum" in part]
    words += [f"`{part['const']}`" for part in found if "const" in part]
    signs = {"exclusiveMinimum": "over", "minimum": "at least", "exclusiveMaximum": "under", "maximum": "at most", "pattern": "like"}
    return ", ".join(words + [f"{text} `{part[name]}`" for part in found for name, text in signs.items() if name in part])


def listed(value: str | list[str]) -> str:
    return "<br>".join(f"`{item}`" for item in ([value] if isinstance(value, str) else value))


def condition(value: Mapping[str, Any] | None) -> str:
    return "<br>".join(f"`{key}` {test} `{json.dumps(wanted)}`" for test, pairs in (value or {}).items() for key, wanted in pairs.items())


if __name__ == "__main__":
    for file, text in pages().items():
        (HERE / file).parent.mkdir(exist_ok=True)
        (HERE / file).write_text(text, encoding="utf-8")
        sys.stderr.write(f"docs/{file}\n")
