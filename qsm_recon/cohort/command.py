"""The command line of a cohort, by the standard of BIDS Apps.

``python -m qsm_recon.cohort BIDS_DIR OUT_DIR participant`` reconstructs every multi-echo acquisition that is not done
yet; ``group`` only writes table and overview anew.  Exit code 0: all are done; 1: some failed, and are listed with
their reasons; 2: bad usage or input, nothing written; 130: interrupted, what is done stays.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qsm_recon.cohort.acquisitions import Acquisition, find_acquisitions, subjects_without
from qsm_recon.cohort.derivatives import GROUP, check_folder, describe_dataset
from qsm_recon.cohort.method import Method, method_from_options, require_libraries
from qsm_recon.cohort.record import DONE, FAILED, Record, is_done, read_records
from qsm_recon.cohort.scheduling import LOCAL, add_scheduling_options, check_scheduling, connected
from qsm_recon.commands.background import removal_from_options
from qsm_recon.commands.line import (
    EXIT_DONE,
    EXIT_INTERRUPTED,
    CommandParser,
    logger,
    require_writable,
    run_command,
)
from qsm_recon.commands.options import (
    add_device_option,
    add_method_options,
    add_reading_options,
    add_reconstruction_options,
    add_resource_options,
    add_stage_option,
    solver_from_options,
)
from qsm_recon.datasets.bids import DEFAULT_SUFFIX
from qsm_recon.errors import DataError, ParameterError, ResourceError
from qsm_recon.solvers.registry import find_solver

if TYPE_CHECKING:
    from qsm_recon.cohort.footprint import Share
    from qsm_recon.cohort.worker import Task

EXIT_SOME_FAILED = 1
NAMED = 5
"""Subjects or acquisitions that something is said of which are named; there may be hundreds."""
LEVELS = ("participant", "group")


def build_parser() -> argparse.ArgumentParser:
    """Describe the command line."""
    parser = CommandParser(
        prog="python -m qsm_recon.cohort",
        description="Reconstruct the susceptibility map (ppm) of every multi-echo acquisition of a BIDS data set.",
        epilog="What is done is not done again: the same command goes on where it was stopped.",
    )
    parser.add_argument("bids_dir", type=Path, metavar="BIDS_DIR", help="the data set, the folder with the subjects")
    parser.add_argument("output_dir", type=Path, metavar="OUT_DIR", help="folder of the results, a BIDS derivative")
    parser.add_argument(
        "analysis_level", choices=LEVELS, help="participant: reconstruct; group: only write table and overview anew"
    )
    which = parser.add_argument_group("which acquisitions")
    which.add_argument(
        "--participant-label", "--participant_label", nargs="+", action="extend", default=[], metavar="LABEL",
        help="subjects, with or without sub- (default: all)",
    )  # fmt: skip
    which.add_argument(
        "--session-label", "--session_label", nargs="+", action="extend", default=[], metavar="LABEL",
        help="sessions, with or without ses- (default: all)",
    )  # fmt: skip
    which.add_argument("--suffix", default=DEFAULT_SUFFIX, help="suffix of the images (default: %(default)s)")
    which.add_argument(
        "--mask", metavar="PATTERN",
        help="where the masks are, relative to BIDS_DIR, with {subject}, {session}, {acquisition}, {run}, {name} and * "
        "in it; none: make them (default: *_mask under derivatives, else made)",
    )  # fmt: skip
    which.add_argument(
        "--skip-bids-validation", "--skip_bids_validation", action="store_true",
        help="has no effect: of the data set only what is used is checked",
    )  # fmt: skip
    method = parser.add_argument_group("what to do to each (as of python -m qsm_recon.run)")
    add_method_options(method)
    add_reconstruction_options(method)
    add_reading_options(method)
    add_stage_option(method)
    machine = parser.add_argument_group("where and how")
    add_scheduling_options(machine)
    add_resource_options(
        machine,
        "threads of one run (default: the cores shared out)",
        "memory of all runs at once (default: most of what is free); elsewhere than on this machine of one run",
    )
    add_device_option(machine)
    machine.add_argument("--dry-run", action="store_true", help="say what would be done, and write nothing")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    options = build_parser().parse_args(words)
    return run_command(lambda: _run(options), quiet=options.quiet)


@dataclass
class _Cohort:
    """What is to be done."""

    root: Path
    out: Path
    method: Method
    acquisitions: list[Acquisition]
    todo: list[Acquisition]


def _run(options: argparse.Namespace) -> int:
    if options.analysis_level == "participant":
        check_scheduling(options)
        if options.scheduler == LOCAL:  # the workers of a scheduler that others started have their own libraries
            require_libraries(find_solver(options.algo))
    cohort = _plan(options)
    if options.analysis_level == "group":
        records = read_records(cohort.out)
        if not records:
            raise DataError(f"{cohort.out}: holds no results yet; give 'participant' first")
        if options.dry_run:
            print(f"table and overview of {len(records)} acquisitions: {cohort.out / GROUP}.tsv, .html")
            return EXIT_DONE
        _write_group(cohort, 0)
        failed = _list_failed(records)
        _say_where(cohort, options)
        return EXIT_SOME_FAILED if failed else EXIT_DONE
    share, needed = _share(cohort, options)
    done = len(cohort.acquisitions) - len(cohort.todo)
    logger.info("%s: %d acquisitions, %d of them done already", cohort.root, len(cohort.acquisitions), done)
    if options.slurm_script:
        from qsm_recon.cohort.scheduling import slurm_cluster

        print(_script(slurm_cluster(options, share, needed, cohort.out)))
        return EXIT_DONE
    if options.dry_run:
        for acquisition in cohort.todo:
            print(f"{acquisition.name}: {acquisition.refusal or acquisition.specification(cohort.root)}")
        return EXIT_DONE
    if cohort.todo:
        return _work(cohort, options, share, needed)
    _write_group(cohort, 0)
    _say_where(cohort, options)
    return EXIT_DONE


def _plan(options: argparse.Namespace) -> _Cohort:
    """Check all options, find the acquisitions and which of them are left to do; nothing is written."""
    root, out = options.bids_dir.absolute(), options.output_dir.absolute()
    root, out = Path(os.path.normpath(root)), Path(os.path.normpath(out))
    if not root.is_dir():
        raise DataError(f"{root}: no such folder; expected the folder of a BIDS data set")
    if "?" in str(root):
        raise ParameterError(f"{root}: a data set whose path holds '?' cannot be named; move it or make a link to it")
    if out == root or (root in out.parents and out.relative_to(root).parts[0].startswith("sub-")):
        raise ParameterError(f"{out}: results must not lie among the raw data; take {root / 'derivatives/qsm_recon'}")
    require_writable(out, str(out), "choose another OUT_DIR")
    check_folder(out, root)
    method = method_from_options(options)
    acquisitions = find_acquisitions(
        root,
        suffix=options.suffix,
        participants=options.participant_label,
        sessions=options.session_label,
        mask=options.mask,
        without=out,
    )
    if options.analysis_level == "participant":
        _tell_of_lacking(root, options)
        _tell_of_masks(root, acquisitions, options)
    asked = acquisitions if options.analysis_level == "participant" else []
    todo = [one for one in asked if one.refusal or not is_done(root, out, one, method.described)]
    return _Cohort(root, out, method, acquisitions, todo)


def _tell_of_lacking(root: Path, options: argparse.Namespace) -> None:
    """Name the subjects that nothing will be reconstructed of, in one line."""
    lacking = subjects_without(root, options.suffix, options.participant_label)
    if lacking:
        logger.warning(
            "%s: %d subject(s) without images *_%s.nii[.gz] are left out: %s",
            root, len(lacking), options.suffix, _first_of(lacking),
        )  # fmt: skip


def _tell_of_masks(root: Path, acquisitions: Sequence[Acquisition], options: argparse.Namespace) -> None:
    """Name the acquisitions that alone among others have no mask: their maps cover another region."""
    without = [one.name for one in acquisitions if one.mask is None and not one.refusal]
    if options.mask is None and without and any(one.mask for one in acquisitions):
        logger.warning(
            "%s: %d acquisition(s) have no mask under derivatives as others have; one of the whole object is made: %s",
            root, len(without), _first_of(without),
        )  # fmt: skip


def _first_of(names: Sequence[str]) -> str:
    return ", ".join(names[:NAMED]) + (", …" if len(names) > NAMED else "")


def _share(cohort: _Cohort, options: argparse.Namespace) -> tuple[Share, float]:
    """How the machine, or a job, is used, and the memory that one run takes."""
    from qsm_recon.backend.device import CPU, on_device, torch_name
    from qsm_recon.backend.memory import GIB, available_bytes, device_available_bytes
    from qsm_recon.backend.threads import thread_count
    from qsm_recon.cohort.footprint import Share, footprint, require_room, runs_on_device, share_out

    elsewhere = options.slurm or options.slurm_script or options.scheduler != LOCAL
    if options.device != CPU:
        torch_name(options.device)  # which there is, even where the device is on another machine
    able = [one for one in cohort.todo if not one.refusal]
    methods = solver_from_options(options), removal_from_options(options)
    with on_device(None if elsewhere else options.device):
        largest = footprint(cohort.root, able, *methods)
        free = device_available_bytes()
    needed = 0.0 if largest is None else largest.bytes
    share = share_out(
        max(1, len(able)), needed,
        cores=thread_count(), available_bytes=available_bytes(),
        threads=options.threads, workers=options.workers, memory_gib=options.memory_limit,
        at_most=None if free is None or largest is None else runs_on_device(largest.tensor_bytes, free),
    )  # fmt: skip
    if elsewhere:
        jobs = min(max(1, len(able)), options.workers or options.slurm_jobs)
        share = Share(jobs, options.threads or 1, options.memory_limit)
    least = None if largest is None else footprint(cohort.root, able, *methods, least=True)
    if least is not None:
        require_room(least, share, None if elsewhere else available_bytes())
    if largest is not None:
        shape = "×".join(map(str, largest.shape))
        logger.info("memory: about %.3g GiB a run (%s, %s)", needed / GIB, largest.acquisition, shape)
    return share, needed


def _script(cluster: Any) -> str:
    with cluster:
        text: str = cluster.job_script()
        return text


def _work(cohort: _Cohort, options: argparse.Namespace, share: Share, needed: float) -> int:
    """Do what is to be done, and tell of it."""
    from qsm_recon.cohort.worker import tidy

    names = [one.name for one in cohort.todo]
    made = not cohort.out.exists()
    try:
        cohort.out.mkdir(parents=True, exist_ok=True)
    except OSError as error:  # what access() allows may fail all the same: full discs, network folders, root
        raise ResourceError(
            f"{cohort.out}: cannot be made ({error.strerror or error}); choose another OUT_DIR"
        ) from error
    tidy(cohort.out, names)
    came: list[Record] = []
    problem = None
    try:
        with _terminable():
            for record in _records(cohort, options, share, needed):
                if not came:
                    describe_dataset(cohort.out, cohort.root)
                came.append(record)
                _tell(record, len(came), len(names))
    except KeyboardInterrupt:
        problem = "interrupted"
    except ResourceError as error:
        if not came:
            _remove_empty(cohort.out, made)
            raise
        problem = str(error)
    tidy(cohort.out, names)
    _remove_empty(cohort.out, made)
    if came:
        _write_group(cohort, len(names) - len(came))
    failed = _list_failed(came)
    if problem is not None:
        left = len(names) - len(came)
        logger.warning("%s; what is done stays, %d are left, and the same command goes on with them", problem, left)
        return EXIT_INTERRUPTED if problem == "interrupted" else EXIT_SOME_FAILED
    _say_where(cohort, options)
    return EXIT_SOME_FAILED if failed else EXIT_DONE


def _list_failed(records: Sequence[Record]) -> bool:
    """List what failed with its reason; returns whether anything did."""
    failed = [record for record in records if record.status == FAILED]
    for record in failed:
        logger.warning("failed: %s: %s", record.name, record.reason)
    return bool(failed)


def _remove_empty(out: Path, made: bool) -> None:
    """Leave no empty folder of this command's making."""
    if made and not any(out.iterdir()):
        out.rmdir()


def _records(cohort: _Cohort, options: argparse.Namespace, share: Share, needed: float) -> Iterator[Record]:
    """Every run's record as soon as it is known."""
    from qsm_recon.cohort.execution import perform_all

    tasks = [_task(cohort, one, share, options.device) for one in cohort.todo]
    for task in tasks:
        if task.acquisition.refusal:
            record = task.record(FAILED, reason=task.acquisition.refusal)
            record.write(cohort.out)
            yield record
    able = [task for task in tasks if not task.acquisition.refusal]
    if not able:
        return
    if options.scheduler == LOCAL and not options.slurm:
        logger.info("%d runs at once, %d thread(s) each", share.workers, share.threads)
    with connected(options, share, needed, cohort.out) as (client, at_once):
        yield from perform_all(client, able, at_once)


def _task(cohort: _Cohort, acquisition: Acquisition, share: Share, device: str) -> Task:
    from qsm_recon.cohort.worker import Task

    method = cohort.method
    return Task(
        cohort.root, cohort.out, acquisition, method.words, method.described, share.threads, share.memory_gib, device
    )


@contextmanager
def _terminable() -> Iterator[None]:
    """Take a request to end, as a queue sends it, like Ctrl-C."""

    def handle(_number: int, _frame: object) -> None:
        raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():  # which alone may
        yield
        return
    previous = signal.signal(signal.SIGTERM, handle)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)


def _tell(record: Record, number: int, total: int) -> None:
    text = "failed" if record.status == FAILED else f"done in {record.facts['seconds']:.0f} s"
    if record.warnings:
        text += f", {len(record.warnings)} warning(s)"
    logger.info("[%d/%d] %s: %s", number, total, record.name, text)


def _write_group(cohort: _Cohort, missing: int) -> None:
    """Write table and overview of all that is there, also from earlier commands."""
    from qsm_recon.cohort.overview import write_overview
    from qsm_recon.cohort.table import write_table

    records = read_records(cohort.out)
    write_table(cohort.out, records)
    write_overview(cohort.out, records, cohort.root, missing)


def _say_where(cohort: _Cohort, options: argparse.Namespace) -> None:
    if options.quiet:
        return
    records = read_records(cohort.out)
    done = sum(record.status == DONE for record in records)
    print(f"{done} of {len(records)} maps are there; overview: {cohort.out / GROUP}.html, table: {GROUP}.tsv")
