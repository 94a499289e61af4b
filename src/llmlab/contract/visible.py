"""Text of others that people read: it is shown and commands nobody. A log, a file's name or a model's answer may hold what does."""

CONTROL = {code: 0x2400 + code for code in range(32) if chr(code) not in "\t\n"} | {0x7F: 0x2421}
"""Control characters as the pictures that Unicode has of them."""
HIDDEN = dict.fromkeys([0x061C, *range(0x80, 0xA0), *range(0x200E, 0x2010), *range(0x2028, 0x202F), *range(0x2066, 0x206A)], 0xFFFD)
"""The other control characters, those that turn the direction of text, and those that begin a line without being the end of one."""


def visible(text: str) -> str:
    """Text without anything that a terminal obeys but ends of lines and tabs."""
    return text.translate(CONTROL | HIDDEN)


def one_line(text: str) -> str:
    """Words of others that stand within a sentence of ours: what begins a line there could pass for a line of ours."""
    return " ".join(visible(" ".join(text.split())).split())
