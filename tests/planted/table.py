"""All bugs. A new part of the source gets a file of its own here."""

from tests.planted import agent, laptop, training, watchdog

BUGS = (*watchdog.BUGS, *agent.BUGS, *laptop.BUGS, *training.BUGS)
