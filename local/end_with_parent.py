"""Runs a command that ends when its parent does: `python end_with_parent.py PARENT_PID USER_ID COMMAND...`.

A parent that is killed outright cannot stop its children. On Linux the kernel can: it is asked to
send SIGTERM to this process when the thread that started it ends, then this process becomes the
command. So start children from a thread that lives as long as they should. Elsewhere the command
simply runs, and a parent killed with SIGKILL leaves it behind.

An empty user id keeps the user. Another one is taken first, because the kernel forgets the signal when the
user changes. PostgreSQL refuses to run as root.

It is a script of its own, not a function run between fork and exec, because that one is unsafe in a
process that has threads.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1  # from <linux/prctl.h>


def main(arguments: list[str]) -> None:
    """Become the command; where the system can, it gets SIGTERM when its parent ends."""
    parent, user, *command = arguments
    if user:
        os.setgroups([])
        os.setgid(int(user))
        os.setuid(int(user))
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != int(parent):  # the parent ended before the signal was asked for
            sys.exit(1)
    os.execvp(command[0], command)  # noqa: S606 - the command is the stack's own, no shell is wanted


if __name__ == "__main__":
    main(sys.argv[1:])
