"""One user intention per file. An operation takes an `Aws`, a clock and callbacks, and returns facts; it never prints."""
