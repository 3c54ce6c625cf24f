"""Start a program and write what it used: ``python -I -S launch.py USAGE.json PROGRAM ARGUMENT…``.

A process of its own, and a small one: the kernel counts the memory of the process that starts a program as that
program's.  Nothing but the standard library is imported.
"""

import json
import os
import sys
import time


def main() -> int:
    """Run the program and return its exit code, or 128 and its signal."""
    usage_file, *command = sys.argv[1:]
    began = time.perf_counter()
    child = os.posix_spawnp(command[0], command, os.environ)
    _, status, usage = os.wait4(child, 0)
    facts = {
        "wall_s": time.perf_counter() - began,
        "cpu_s": usage.ru_utime + usage.ru_stime,
        "peak_bytes": usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024),
    }
    with open(usage_file, "w") as stream:  # noqa: PTH123 - pathlib is not worth its memory here
        json.dump(facts, stream)
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else 128 - code


if __name__ == "__main__":
    sys.exit(main())
