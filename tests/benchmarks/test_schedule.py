"""Jobs on workers of their own: what is no death is not taken for one."""

import os
import signal
import sys
import time

import pytest

from benchmarks.suite.schedule import Workers


def sleep_and_tell(path):
    """Leave word of this process, and take a while."""
    path.write_text(str(os.getpid()))
    time.sleep(3)
    return os.getpid()


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
