"""Jobs on workers of their own: what is no death is not taken for one."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from benchmarks.suite.schedule import Workers

ROOT = Path(__file__).resolve().parents[2]


def sleep_and_tell(path):
    """Leave word of this process, and take a while."""
    path.write_text(str(os.getpid()))
    time.sleep(3)
    return os.getpid()


LEFT = """
import sys, time
from pathlib import Path
from benchmarks.suite.schedule import Workers

def begin(path):
    Path(path).touch()
    time.sleep(60)

if __name__ == "__main__":
    workers = Workers(1)
    workers.submit("job", begin, sys.argv[1])
    while not Path(sys.argv[1]).exists():
        time.sleep(0.05)
    workers.close()
"""


def test_workers_that_are_left_amid_a_job_say_nothing(tmp_path):
    """An interrupted command was to end with one line, and a worker wrote of a cancelled task before it."""
    script = tmp_path / "left.py"
    script.write_text(LEFT)
    command = [sys.executable, str(script), str(tmp_path / "begun")]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True, timeout=120)
    assert (done.stdout, done.stderr) == ("", "")


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="no signal that stops a process")
def test_a_worker_that_was_stopped_for_a_while_goes_on(tmp_path):
    """As all of them are where the computer sleeps.  Dask's own limit of five minutes is made one second here."""
    import dask

    with dask.config.set({"distributed.scheduler.worker-ttl": "1s"}):
        workers = Workers(1)
        try:
            workers.submit("job", sleep_and_tell, tmp_path / "pid")
            deadline = time.monotonic() + 60
            while not (tmp_path / "pid").is_file() or not (tmp_path / "pid").read_text():
                assert time.monotonic() < deadline
                time.sleep(0.05)
            process = int((tmp_path / "pid").read_text())
            os.kill(process, signal.SIGSTOP)
            time.sleep(8)  # Dask waits for ten heartbeats, half a second each, at least
            os.kill(process, signal.SIGCONT)
            assert workers.next() == ("job", process)
        finally:
            workers.close()
