"""Making untrusted text safe to show: logs, file names and model answers may hold characters that control a terminal."""

CONTROL = {code: 0x2400 + code for code in range(32) if chr(code) not in "\t\n"} | {0x7F: 0x2421}
"""Control characters → the visible Unicode symbols for them."""
HIDDEN = dict.fromkeys([0x061C, *range(0x80, 0xA0), *range(0x200E, 0x2010), *range(0x2028, 0x202F), *range(0x2066, 0x206A)], 0xFFFD)
"""Other control characters, marks of text direction, and line and paragraph separators → the replacement character."""


def visible(text: str) -> str:
    """Replace every character that controls a terminal, except line ends and tabs."""
    return text.translate(CONTROL | HIDDEN)


def one_line(text: str) -> str:
    """Untrusted text as one line, for use within a sentence of ours: a line break in it could fake a line of output."""
    return " ".join(visible(" ".join(text.split())).split())
