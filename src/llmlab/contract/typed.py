"""Hints as the user's own command line with one thing changed.

An error's hint names only what differs, such as `llmlab launch --max-hours 6`. Alone that line would forget what else was typed, among it
the cost limits, so it is merged into the typed line: here, and nowhere else. Standard library only, as the watchdog's mails hold such
lines too.
"""

import shlex
from collections.abc import Iterable, Sequence

from llmlab.contract.visible import visible

FLAGS = frozenset(
    {
        "--all", "--cost-explorer", "--dry-run", "--everything", "--fallback-on-demand", "--follow", "--forms", "--help",
        "--install-completion", "--json",
        "--no-auto-shutdown", "--no-cost-explorer", "--no-resume", "--now", "--on-demand", "--open", "--plan", "--print-operator-policy",
        "--request-quota", "--show-completion", "--skip-bad", "--spot", "--verbose", "--version", "--wait", "--watch", "--yes",
    }
)  # fmt: skip
"""Options without a value; every other that begins with two dashes takes one, and of those with one dash `SHORT`."""
OPPOSITES = {
    "--spot": "--on-demand", "--on-demand": "--spot", "--cost-explorer": "--no-cost-explorer", "--no-cost-explorer": "--cost-explorer",
}  # fmt: skip
ANYWHERE = ("--profile", "--region", "--config")
"""Options of every command that say which lab is meant."""
SHORT = frozenset({"-n"})
"""Options of one letter that have a value."""
GROUPS = frozenset({"sandbox", "secret", "image"})
"""Commands whose second word is a command too."""
ALONE = frozenset({"--help", "--forms", "--print-operator-policy"})
"""Options that show something and do nothing else: such a line needs no more than itself, and says which lab is meant."""
SET = "--set"
LAUNCH = "launch"
RECIPES = frozenset({"--recipe", SET, "--data", "--instance-type", "--spot", "--on-demand"})
TAKES = {
    "estimate": RECIPES,
    "upload": frozenset({"--recipe"}),
    "validate": frozenset({"--recipe"}),
    "resume": frozenset({"--spot", "--on-demand", "--fallback-on-demand", "--wait-for-capacity", "--max-hours", "--max-cost"}),
}
"""Commands that share a part with `launch`, and the options that mean the same there: a hint about these is about the command typed."""
FORGOTTEN = frozenset({"--yes", "-y", "--json", "-v", "-vv", "-vvv", "--verbose"})
"""What a line that is remembered leaves out: the next one asks, and answers in words."""
COMMENT = "  # "
LONGEST = 1000

Item = tuple[str, str | None]
"""An option and its value (None: it has none), or ("", word) for every other word; ("--", None) ends the options."""


def changed(typed: Sequence[str], hint: str, without: Iterable[str] = ()) -> str:
    """Merge a hint into the line that was typed (`typed`, without its first word, the program).

    `without` names what the typed line had and the next may not have: options, fields of a `--set`, other words. A hint of another
    command stays as it is but for the options that say which lab is meant, and one that is no line of ours stays altogether.
    """
    line, mark, comment = hint.partition(COMMENT)
    try:
        words = shlex.split(line)
    except ValueError:
        return hint
    new, old = items(words[1:]), items(typed)
    if words[:1] != ["llmlab"] or ("--help", None) in new:
        return hint
    named, was = command(new), command(old)
    plain = not set(words) & {"&&", "||", "|", ";", "<", ">"} and not ALONE & {name for name, _ in new}
    if plain and was and (not named or named == was or (named == (LAUNCH,) and _shared(new, was))):
        for word in named:
            new.remove(("", word))
        return join(_over(old, new, set(without), len(was))) + mark + comment
    return same_lab(typed, hint, without)


def same_lab(typed: Sequence[str], line: str, without: Iterable[str] = ()) -> str:
    """Add the typed line's lab options (`ANYWHERE`) to an `llmlab` command, wherever it begins in `line`; other lines stay as they are."""
    before, program, rest = line.partition("llmlab ")
    named = {name for name, _ in items(rest.split())}
    lab = [item for item in items(typed) if item[0] in ANYWHERE and item[0] not in {*named, *without}]
    return f"{before}{join(lab)} {rest}" if lab and program else line


def items(words: Sequence[str]) -> list[Item]:
    """Parse the words of a line: each option with its value, and the other words."""
    parsed: list[Item] = []
    rest = list(words)
    while rest:
        word = rest.pop(0)
        name, equals, value = word.partition("=")
        if word == "--":
            return [*parsed, ("--", None), *(("", word) for word in rest)]
        if not word.startswith("-") or word == "-":
            parsed.append(("", word))
        elif (not word.startswith("--") and word not in SHORT) or name in FLAGS:
            parsed.append((word, None))
        elif equals:
            parsed.append((name, value))
        else:
            parsed.append((name, rest.pop(0) if rest else None))
    return parsed


def command(line_items: Sequence[Item]) -> tuple[str, ...]:
    """The words that name the command."""
    plain = [value or "" for name, value in line_items if not name]
    return tuple(plain[: 2 if plain[:1] and plain[0] in GROUPS else 1])


def join(line_items: Iterable[Item]) -> str:
    """The command line of these items, quoted for a shell: the inverse of `items`."""
    words = [word for name, value in line_items for word in ((name, value) if name else (value,)) if word is not None]
    return shlex.join(["llmlab", *words])


def remembered(line: str) -> list[str]:
    """The words of a launch recorded in a document, without `FORGOTTEN`; [] for a line that is no launch.

    The line is untrusted: a word that a terminal would obey makes it invalid as a whole, and each word is quoted for the shell.
    """
    try:
        words = shlex.split(line)
    except ValueError:
        return []
    if words[:1] != ["llmlab"] or command(items(words[1:])) != (LAUNCH,) or not all(_harmless(word) for word in words):
        return []
    return shlex.split(join(item for item in items(words[1:]) if item[0] not in FORGOTTEN))[1:]


def _harmless(word: str) -> bool:
    return len(word) <= LONGEST and visible(word) == word and word.isprintable()


def _shared(new: Sequence[Item], was: tuple[str, ...]) -> bool:
    return {name for name, _ in new if name} <= TAKES.get(was[0], frozenset())


def _over(old: Sequence[Item], new: Sequence[Item], without: set[str], names: int) -> list[Item]:
    """Merge the new items into the old ones: replaced items keep their places, further ones come at the end.

    The first `names` plain words of the old line name its command. `latest` stands for a run, and gives way to one that was named.
    """
    (old, old_tail), (new, new_tail) = _at_dashes(old), _at_dashes(new)
    options, words = [item for item in new if item[0]], [item for item in new if not item[0]]
    plain = [item for item in old if not item[0]]
    if words == [("", "latest")] and len(plain) > names:
        words = []
    replaced = plain[names:] if words else [word for word in plain[names:] if word[1] in without]
    result: list[Item] = []
    for item in old:
        same = [option for option in options if item[0] and _same(option, item)]
        if same:
            result += [option for option in same if option not in result]
        elif item[0]:
            result += [] if without & {item[0], _field(item)} else [item]
        elif item in replaced:
            result += [word for word in words if word not in result]
        else:
            result.append(item)
    more = [item for item in [*words, *options] if item not in result]
    return [*result, *more, *(new_tail or old_tail)]


def _at_dashes(line_items: Sequence[Item]) -> tuple[list[Item], list[Item]]:
    """Split the items at a `--`: those before it, and it with those after it."""
    end = list(line_items).index(("--", None)) if ("--", None) in line_items else len(line_items)
    return list(line_items[:end]), list(line_items[end:])


def _same(new: Item, old: Item) -> bool:
    if new[0] == SET == old[0]:
        return _field(new) == _field(old)
    return new[0] == old[0] or OPPOSITES.get(new[0]) == old[0]


def _field(item: Item) -> str:
    """The field that a `--set` sets, or the name of another option."""
    return (item[1] or "").partition("=")[0] if item[0] == SET else item[0]
