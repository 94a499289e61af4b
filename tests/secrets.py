"""No secret in any version of any file: `python -m tests.secrets` goes through every line that history ever added.

What looks like one and is none is in `ALLOWED`, with the reason. A shallow clone is looked at as far as it goes.
"""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from detect_secrets.core.scan import scan_line
from detect_secrets.settings import transient_settings

ROOT = Path(__file__).parent.parent
PLUGINS = [
    {"name": name}
    for name in (
        "AWSKeyDetector", "AzureStorageKeyDetector", "BasicAuthDetector", "GitHubTokenDetector", "GitLabTokenDetector", "JwtTokenDetector",
        "NpmDetector", "OpenAIDetector", "PrivateKeyDetector", "PypiTokenDetector", "SendGridDetector", "SlackDetector", "StripeDetector",
        "TelegramBotTokenDetector", "TwilioKeyDetector",
    )
]  # fmt: skip
"""Those that know a secret by its form; entropy and names are guesses, of which hashes and fixtures are full."""
HUGGING_FACE = re.compile(r"\bhf_[A-Za-z0-9]{30,}\b")
ALLOWED = {
    "IASANDBOX": "the sandbox's and the tests' own access keys, of no account",
    "https://me:": "the user and password of addresses that tests assert are refused",
    "secret@example.org": "the password that a test asserts is left out",
}


def added() -> Iterator[tuple[str, str]]:
    """Every line that any commit added, with the file it was added to."""
    command = ["git", "-C", str(ROOT), "log", "--all", "--no-merges", "--unified=0", "--no-color", "--format=", "--patch"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, errors="replace") as process:
        name = ""
        for line in process.stdout or ():
            if line.startswith("+++ "):
                name = line[6:].strip()
            elif line.startswith("+") and not name.endswith(".lock"):
                yield name, line[1:].strip()


def suspicious(line: str) -> list[str]:
    """The kinds of secret in a line that nobody has given a reason for."""
    if any(text in line for text in ALLOWED):
        return []
    kinds = [found.type for found in scan_line(line)]
    return [*kinds, "Hugging Face token"] if HUGGING_FACE.search(line) else kinds


def main() -> int:
    with transient_settings({"plugins_used": PLUGINS}):
        found = {(name, line): kinds for name, line in set(added()) if (kinds := suspicious(line))}
    for (name, line), kinds in sorted(found.items()):
        sys.stdout.write(f"{name}: {', '.join(kinds)}: {line[:60]}\n")
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main())
