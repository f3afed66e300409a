"""Counts what code does, however busy the machine is: bytecode instructions, calls into C, memory at the peak.

Not here: what is counted (counted_work.py).
"""

import sys
import tracemalloc
from collections.abc import Callable
from types import CodeType, FrameType
from typing import Any, Final, NamedTuple

TOOL: Final = 4  # one of those that no debugger, profiler or coverage tool takes by convention


class Work(NamedTuple):
    """Per event. `codec_calls`, which are among the calls into C: each takes as long as dozens of others."""

    instructions: float
    c_calls: float
    codec_calls: float
    peak_bytes: float


def count(subject: Callable[[], object], events: int) -> Work:
    """Run it three times: to fill caches, to count, to weigh."""
    subject()
    instructions, (c_calls, codec_calls) = _instructions(subject), _c_calls(subject)
    tracemalloc.start()
    try:
        subject()
        peak_bytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    return Work(instructions / events, c_calls / events, codec_calls / events, peak_bytes / events)


if sys.version_info >= (3, 12):

    def _instructions(subject: Callable[[], object]) -> int:
        executed = 0

        def executing(_: CodeType, __: int) -> None:
            nonlocal executed
            executed += 1

        watching, event = sys.monitoring, sys.monitoring.events.INSTRUCTION
        watching.use_tool_id(TOOL, "counted work")
        try:
            watching.register_callback(TOOL, event, executing)
            watching.set_events(TOOL, event)
            subject()
        finally:
            watching.set_events(TOOL, 0)
            watching.register_callback(TOOL, event, None)
            watching.free_tool_id(TOOL)
        return executed

else:

    def _instructions(subject: Callable[[], object]) -> int:
        executed = 0

        def trace(frame: FrameType, what: str, _: Any) -> Any:
            nonlocal executed
            if what == "call":
                frame.f_trace_opcodes, frame.f_trace_lines = True, False
            elif what == "opcode":
                executed += 1
            return trace

        before = sys.gettrace()
        sys.settrace(trace)
        try:
            subject()
        finally:
            sys.settrace(before)
        return executed


def _c_calls(subject: Callable[[], object]) -> tuple[int, int]:
    called = codec = 0

    def profile(_: FrameType, what: str, function: Any) -> None:
        nonlocal called, codec
        if what == "c_call":
            called += 1
            codec += type(getattr(function, "__self__", None)).__module__.startswith("msgspec")

    before = sys.getprofile()
    sys.setprofile(profile)
    try:
        subject()
    finally:
        sys.setprofile(before)
    return called, codec
