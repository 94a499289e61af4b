"""The plan: every part, the most telling first, with its share of the minutes."""

from benchmarks.training.gpu.parts import (
    attention,
    compiled,
    device,
    families,
    footprint,
    formats,
    memory,
    packing,
    qlora,
    resume,
    speed,
    start,
)
from benchmarks.training.gpu.running import Part

PARTS = (
    Part("device", 4, device.run),
    Part("formats", 9, formats.run),
    Part("attention", 4, attention.run),
    Part("packing", 8, packing.run),
    Part("footprint", 12, footprint.run),
    Part("qlora", 9, qlora.run),
    Part("memory", 4, memory.run),
    Part("start", 9, start.run),
    Part("speed", 25, speed.run),
    Part("resume", 6, resume.run),
    Part("families", 5, families.run),
    Part("compiled", 5, compiled.run, cpu="a CPU would compile C++ for most of a minute"),
)
"""A share is a hundredth of the minutes."""
