"""What a benchmark says of the machine, and what it counts of processes."""

import os
import subprocess
import sys
from dataclasses import replace

from benchmarks.machine import cpu_model, read_machine
from benchmarks.processes import Meter, only, with_children

BURN = "import time\nwhile time.process_time() < 0.6: pass\n"
PARENT = f"""import subprocess, sys
input()
subprocess.run([sys.executable, "-c", {BURN!r}], check=True)
print("done", flush=True)
input()
"""
HOLD_BYTES = 64 * 1024 * 1024
HOLD = f"held = bytearray(b'1') * {HOLD_BYTES}\nprint('x', flush=True); input()"


def test_a_machine_is_described_by_what_bears_on_its_figures() -> None:
    """Processors, memory and the versions of the libraries that do the work."""
    found = read_machine()

    assert 1 <= found.cpus <= (os.cpu_count() or 1)
    assert found.memory_bytes > 100_000_000
    assert found.python == ".".join(map(str, sys.version_info[:3]))
    assert {"librdkafka", "msgspec", "rocksdict"} <= set(found.libraries)
    assert found.document()["model"] == found.model != ""


def test_a_busy_machine_is_warned_of() -> None:
    """Others may use up to half of each processor before rates are called doubtful."""
    found = replace(read_machine(), cpus=2)

    assert replace(found, load_average=1.0).warning() is None
    assert "load 1.1 on 2 CPUs" in (replace(found, load_average=1.1).warning() or "")


def test_the_processor_is_known_by_name() -> None:
    """From the kernel's list; some architectures have none in it."""
    assert cpu_model("processor\t: 0\nmodel name\t: Fast One @ 3 GHz\n") == "Fast One @ 3 GHz"
    assert cpu_model("processor\t: 0\n") != ""


def test_cpu_time_of_children_counts_for_who_started_them() -> None:
    """Also when a child has ended before the interval does; without children only the parent's own time counts."""
    with subprocess.Popen([sys.executable, "-c", PARENT], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as parent:
        assert parent.stdin is not None
        assert parent.stdout is not None
        with Meter(with_children(parent.pid)) as family, Meter(only(parent.pid)) as alone:
            parent.stdin.write(b"go\n")
            parent.stdin.flush()
            parent.stdout.readline()
        parent.stdin.close()

    assert family.usage.cpu_seconds - alone.usage.cpu_seconds > 0.2
    assert family.usage.seconds > 0.6


def test_what_was_used_before_the_interval_does_not_count() -> None:
    """A worker that is already running is charged from the entry on."""
    burnt = f"{BURN}print('x', flush=True); input()"
    with subprocess.Popen([sys.executable, "-c", burnt], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdout.readline()
        with Meter(only(process.pid)) as meter:
            pass
        process.stdin.close()

    assert meter.usage.cpu_seconds < 0.1


def test_peak_memory_is_that_of_the_process() -> None:
    """What it holds is resident, and in the sum."""
    with subprocess.Popen([sys.executable, "-c", HOLD], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdout.readline()
        with Meter(only(process.pid)) as meter:
            pass
        process.stdin.close()

    assert HOLD_BYTES < meter.usage.peak_rss_bytes < 4 * HOLD_BYTES
