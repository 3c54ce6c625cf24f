"""Where results are kept: records and maps by checksum, and the tables' rows beside the benchmarks."""

from __future__ import annotations

import json
import os
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.suite.record import Record, Row, tidy_csv
from benchmarks.timing import RESULTS
from qsm_recon.errors import DataError
from qsm_recon.io import atomic_write, atomic_write_text, plain

SUITE_RESULTS = RESULTS / "suite"
STORE = Path(__file__).resolve().parents[2] / "build" / "benchmarks"


class Store:
    """Records and maps of jobs, in a folder that may be deleted; what tables show is kept elsewhere.

    Parameters
    ----------
    folder
        It is made where missing.
    """

    def __init__(self, folder: Path = STORE) -> None:
        self.folder = Path(folder)

    def record_path(self, key: str) -> Path:
        """File of a record."""
        return self.folder / "records" / f"{key}.json"

    def map_path(self, key: str) -> Path:
        """File of a map."""
        return self.folder / "maps" / f"{key}.npz"

    def add(self, record: Record) -> None:
        """Keep a record; its file is whole, or not there."""
        path = self.record_path(record.key)
        path.parent.mkdir(parents=True, exist_ok=True)
        atomic_write_text(path, json.dumps(plain(record.as_dict()), indent=1, allow_nan=False) + "\n")

    def find(self, key: str) -> Record | None:
        """The record of a job that has a result; one that failed is asked again, and one that is damaged."""
        try:
            record = Record.from_dict(json.loads(self.record_path(key).read_text("utf-8")))
        except (OSError, ValueError, TypeError):
            return None
        return record if record.key == key and not record.failed else None

    def save_map(self, key: str, susceptibility_ppm: NDArray) -> None:
        """Keep a map."""
        path = self.map_path(key)
        path.parent.mkdir(parents=True, exist_ok=True)

        def write(temporary: Path) -> None:
            with temporary.open("wb") as stream:
                np.savez_compressed(stream, susceptibility_ppm=np.asarray(susceptibility_ppm, np.float32))

        atomic_write(path, write)

    def load_map(self, key: str) -> NDArray[np.float32] | None:
        """A map; None where it is not kept, or is damaged."""
        try:
            with self.map_path(key).open("rb") as stream, np.load(stream, allow_pickle=False) as stored:
                image: NDArray[np.float32] = stored["susceptibility_ppm"]
        except (OSError, EOFError, ValueError, TypeError, AttributeError, KeyError, zipfile.BadZipFile, zlib.error):
            return None
        return image


def results_path(name: str, folder: Path = SUITE_RESULTS) -> Path:
    """File of a table's rows."""
    return folder / f"{name}.json"


def read_rows(name: str, folder: Path = SUITE_RESULTS) -> list[Row]:
    """Rows of a table; none where it has not been made.

    Raises
    ------
    DataError
        If the file cannot be read.
    """
    path = results_path(name, folder)
    if not path.is_file():
        return []
    try:
        return [Row.from_dict(stored) for stored in json.loads(path.read_text("utf-8"))["rows"]]
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path}: not a table of this suite ({error}); move it away and run again") from error


def merge_rows(name: str, rows: Sequence[Row], folder: Path = SUITE_RESULTS, order: Any = None) -> list[Row]:
    """Put rows into a table, as JSON and CSV; rows of other jobs stay as they were.

    Parameters
    ----------
    name
        Of the table.
    rows
        New rows; they replace those of the same job, whatever program made these.
    folder
        Where tables are.
    order
        Key that rows are sorted by; by default they take the places of their former ones in the order given, the rest
        follows.

    Returns
    -------
    list of Row
        All of the table.
    """
    new = {row.identity(): row for row in rows}
    coming = iter(new.values())  # jobs end in any order: rows take their former places in the order given
    folder.mkdir(parents=True, exist_ok=True)
    with alone_in(folder):
        table = [next(coming) if row.identity() in new else row for row in read_rows(name, folder)] + list(coming)
        if order is not None:
            table.sort(key=order)
        content = json.dumps({"rows": [plain(row.as_dict()) for row in table]}, indent=1, allow_nan=False)
        atomic_write_text(results_path(name, folder), content + "\n")
        atomic_write_text(results_path(name, folder).with_suffix(".csv"), tidy_csv(table))
    return table


@contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Wait until no other run changes tables of a folder, which would write its own without the rows of this one.

    Where the system has no such locks, or the folder is on one that has none, nothing is waited for.
    """
    if os.name != "posix":
        yield
        return
    import fcntl

    place = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):  # some network folders cannot be locked
            fcntl.flock(place, fcntl.LOCK_EX)
        yield
    finally:
        os.close(place)  # which ends the lock
