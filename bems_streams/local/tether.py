"""Starts a command that dies with its parent: `python tether.py PARENT_PID COMMAND…` becomes COMMAND, same pid.

On Linux the kernel is asked to kill it when the parent's thread ends, however the parent ends (even by SIGKILL).
Elsewhere there is no such request: the command is started all the same and outlives a killed parent.
Not here: anything of the package. It runs as a file, isolated, so that starting it takes milliseconds.
"""

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1  # linux/prctl.h


def main(argv: list[str]) -> None:
    """Bind this process to its parent, then replace it by the command. Returns only by raising."""
    parent_pid, command = int(argv[0]), argv[1:]
    if sys.platform == "linux":
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0:
            raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG) was refused")
    if os.getppid() != parent_pid:  # it died before the request was made
        sys.exit(f"parent {parent_pid} is gone: {command[0]} is not started")
    try:
        os.execvp(command[0], command)  # noqa: S606 - to become the command is the point
    except OSError as error:
        sys.exit(f"{command[0]} cannot be started: {error.strerror}")


if __name__ == "__main__":
    main(sys.argv[1:])
