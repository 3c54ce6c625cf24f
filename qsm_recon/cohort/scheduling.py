"""Where the runs are done: worker processes of this machine, a Dask scheduler that is there, or jobs of SLURM."""

from __future__ import annotations

import argparse
import logging
import math
import shutil
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qsm_recon.cohort.footprint import Share
from qsm_recon.errors import MissingDependencyError, ParameterError, ResourceError
from qsm_recon.version import __version__

if TYPE_CHECKING:
    from distributed import Client

LOCAL = "local"
ALLOWED_FAILURES = 2
"""Workers that may die with a run before Dask gives the run up."""
SECONDS_TO_CONNECT = 30
SECONDS_TO_CLOSE = 5
EXTRA = "pip install 'qsm_recon[cohort]'"


def require_library(name: str) -> None:
    """Check that a library of the extra is installed.

    Raises
    ------
    MissingDependencyError
        Naming the extra.
    """
    from importlib.util import find_spec

    if find_spec(name) is None:
        raise MissingDependencyError(f"a cohort needs the library '{name.replace('_', '-')}', not installed: {EXTRA}")


def add_scheduling_options(group: argparse._ArgumentGroup) -> None:
    """Add the options that say where the runs are done."""
    group.add_argument(
        "--scheduler",
        default=LOCAL,
        metavar="local|ADDRESS",
        help="worker processes of this machine, or the address of a Dask scheduler, such as tcp://host:8786 "
        "(default: %(default)s)",
    )
    group.add_argument("--workers", type=int, metavar="N", help="runs at once (default: by cores and memory)")
    group.add_argument("--slurm", action="store_true", help="run in jobs of SLURM, one run at a time in each")
    group.add_argument("--slurm-jobs", type=int, default=16, metavar="N", help="most jobs at once (default: 16)")
    group.add_argument("--slurm-partition", metavar="NAME", help="partition of the jobs")
    group.add_argument("--slurm-account", metavar="NAME", help="account that they are charged to")
    group.add_argument(
        "--slurm-time", default="04:00:00", metavar="HH:MM:SS", help="time limit of a job (default: %(default)s)"
    )
    group.add_argument(
        "--slurm-option", action="append", default=[], metavar="OPTION", help="another #SBATCH line; repeatable"
    )
    group.add_argument(
        "--slurm-setup", action="append", default=[], metavar="LINE", help="line of shell before the work; repeatable"
    )
    group.add_argument("--slurm-interface", metavar="NAME", help="network interface that the nodes reach each other by")
    group.add_argument("--slurm-script", action="store_true", help="print the script of a job, and end")


def check_scheduling(options: argparse.Namespace) -> None:
    """Check the options before anything is read.

    Raises
    ------
    ParameterError
        If they contradict each other, or a number is not positive.
    MissingDependencyError
        If a library is missing.
    ResourceError
        If SLURM is asked for and not there.
    """
    if (options.slurm or options.slurm_script) and options.scheduler != LOCAL:
        raise ParameterError(f"--slurm and --scheduler {options.scheduler}: give one of them")
    if options.slurm_jobs < 1:
        raise ParameterError(f"--slurm-jobs {options.slurm_jobs}: expected a positive number")
    require_library("distributed")
    if options.slurm or options.slurm_script:
        require_library("dask_jobqueue")
    if options.slurm and not options.slurm_script and shutil.which("sbatch") is None:
        raise ResourceError(
            "--slurm: there is no command 'sbatch' here; give the command on a node that jobs are sent from, or leave "
            "--slurm out to run on this machine"
        )


@contextmanager
def connected(
    options: argparse.Namespace, share: Share, needed_bytes: float, out: Path
) -> Iterator[tuple[Client, Callable[[], int]]]:
    """Give a client of Dask and a function that tells how many runs to hand out at once.

    Parameters
    ----------
    options
        See :func:`add_scheduling_options`.
    share
        How this machine is shared out.
    needed_bytes
        Memory of one run.
    out
        Folder of the results.

    Raises
    ------
    ResourceError
        If workers cannot be started, or a scheduler not be reached, or its workers do not see the folder.
    """
    import dask
    from distributed import Client

    quiet: dict[str, Any] = {
        "distributed.scheduler.allowed-failures": ALLOWED_FAILURES,
        "distributed.admin.system-monitor.gil.enabled": False,
    }
    if options.scheduler == LOCAL and not options.slurm:
        quiet["distributed.scheduler.worker-ttl"] = None  # a computer that slept for minutes: nobody has died
    with dask.config.set(quiet), _silent_logs():
        if options.slurm:
            slurm_logs(out).mkdir(parents=True, exist_ok=True)  # or else SLURM ends the jobs without a word
            cluster: Any = slurm_cluster(options, share, needed_bytes, out)
            cluster.adapt(minimum_jobs=0, maximum_jobs=share.workers)
        elif options.scheduler == LOCAL:
            cluster = _local_cluster(share)
        else:
            cluster = None
        try:
            client = Client(options.scheduler if cluster is None else cluster, timeout=SECONDS_TO_CONNECT)
        except (OSError, ValueError) as error:
            raise ResourceError(
                f"--scheduler {options.scheduler}: no Dask scheduler answers there ({str(error) or 'timeout'}); start "
                "one with 'dask scheduler', or leave the option out to run on this machine"
            ) from error
        try:
            if cluster is None:
                _check_workers(client, out)
                yield client, lambda: max(1, sum(client.nthreads().values()))
            else:
                if options.scheduler == LOCAL and not options.slurm:
                    client.register_plugin(_interrupt_plugin())
                yield client, lambda: share.workers
        finally:
            with suppress(TimeoutError):  # what does not answer in time is ended with its process
                client.close(timeout=SECONDS_TO_CLOSE)
            if cluster is not None:
                with suppress(TimeoutError):
                    cluster.close(timeout=SECONDS_TO_CLOSE)


def _local_cluster(share: Share) -> Any:
    from distributed import LocalCluster

    return LocalCluster(
        n_workers=share.workers,
        threads_per_worker=1,  # a run has threads of its own
        processes=True,
        memory_limit=0,  # runs are planned by their estimate, which also counts what Dask does not see
        dashboard_address="127.0.0.1:0",  # no page: only so that no fixed port is asked for
        silence_logs=logging.CRITICAL,
    )


def slurm_cluster(options: argparse.Namespace, share: Share, needed_bytes: float, out: Path) -> Any:
    """Prepare jobs of SLURM; none is sent yet.

    Parameters
    ----------
    options
        See :func:`add_scheduling_options`.
    share
        Threads and memory of a job.
    needed_bytes
        Memory of one run.
    out
        Folder of the results, for the jobs' output.
    """
    from dask_jobqueue import SLURMCluster

    from qsm_recon.cohort.footprint import SLACK

    memory = share.memory_gib or max(1, math.ceil(needed_bytes * SLACK / 2**30))
    return SLURMCluster(
        cores=1,  # runs at once in a job; each has threads of its own
        processes=1,
        job_cpu=share.threads,
        memory=f"{memory:g}GiB",
        walltime=options.slurm_time,
        queue=options.slurm_partition,
        account=options.slurm_account,
        job_extra_directives=[f"--output={slurm_logs(out)}/%j.txt", *options.slurm_option],
        job_script_prologue=list(options.slurm_setup),
        interface=options.slurm_interface,
        python=sys.executable,
        scheduler_options={"dashboard": False, "dashboard_address": "127.0.0.1:0"},
        silence_logs="critical",
    )


def slurm_logs(out: Path) -> Path:
    """Where jobs write what they print."""
    return out / "logs" / "slurm"


def _check_workers(client: Client, out: Path) -> None:
    """Ask the workers of a scheduler that others started whether they can do the work."""
    try:
        answers = client.run(_answer, str(out))
    except Exception as error:
        raise ResourceError(
            f"the workers of {address_of(client)} cannot do the work ({type(error).__name__}: {error}); they "
            f"need qsm_recon {__version__} installed"
        ) from error
    for address, (version, sees) in answers.items():
        if version != __version__:
            raise ResourceError(
                f"worker {address}: has qsm_recon {version}, here it is {__version__}; install the same"
            )
        if not sees:
            raise ResourceError(f"worker {address}: does not see the folder {out}; workers need the same files as here")


def address_of(client: Client) -> str:
    """Where the scheduler of a client is."""
    return str(getattr(client.scheduler, "address", "that was"))


def _answer(out: str) -> tuple[str, bool]:
    return __version__, Path(out).is_dir()


def _interrupt_plugin() -> Any:
    from distributed import WorkerPlugin

    class LeaveInterrupts(WorkerPlugin):
        """Ctrl-C at the terminal reaches workers too; it is for the command to end them."""

        name = "leave-interrupts"

        def setup(self, worker: Any) -> None:
            signal.signal(signal.SIGINT, signal.SIG_IGN)

    return LeaveInterrupts()


@contextmanager
def _silent_logs() -> Iterator[None]:
    """Keep Dask's own log lines from the terminal: what matters of them is reported here."""
    names = ("distributed", "dask_jobqueue", "tornado", "bokeh")
    loggers = [logging.getLogger(name) for name in names]
    before = [one.level for one in loggers]
    for one in loggers:
        one.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        for one, level in zip(loggers, before, strict=True):
            one.setLevel(level)
