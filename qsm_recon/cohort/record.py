"""What is kept of each acquisition, and how a finished one is known again."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from qsm_recon.cohort.acquisitions import Acquisition
from qsm_recon.errors import DataError
from qsm_recon.io import plain, read_json, write_json
from qsm_recon.version import __version__

FOLDER = "logs"
DONE, FAILED = "done", "failed"
BLOCK_BYTES = 1 << 20


@dataclass(frozen=True)
class InputFile:
    """A file as it was when it was used: its size, when it was changed (ns), and the SHA-256 of its content."""

    bytes: int
    mtime_ns: int
    sha256: str

    @classmethod
    def of(cls, path: Path) -> InputFile:
        """Read a file.

        Raises
        ------
        DataError
            If it cannot be read.
        """
        try:
            status = path.stat()
            digest = hashlib.sha256()
            with path.open("rb") as stream:
                while block := stream.read(BLOCK_BYTES):
                    digest.update(block)
        except OSError as error:
            raise DataError(f"{path}: cannot be read ({error.strerror or error})") from error
        return cls(status.st_size, status.st_mtime_ns, digest.hexdigest())

    def still(self, path: Path) -> InputFile | None:
        """The file as it is now where its content is the same, else None; it is read only where it was touched."""
        try:
            status = path.stat()
        except OSError:
            return None
        if status.st_size != self.bytes:
            return None
        if status.st_mtime_ns == self.mtime_ns:
            return self
        try:
            now = InputFile.of(path)
        except DataError:
            return None
        return now if now.sha256 == self.sha256 else None


@dataclass(frozen=True)
class Record:
    """What became of one acquisition.

    Parameters
    ----------
    name, entities
        Those of the acquisition.
    status
        ``done`` or ``failed``.
    reason
        Why it failed.
    inputs
        Files it depends on, by path relative to the data set.
    method
        What was done, see :func:`qsm_recon.cohort.method.describe_method`.
    version
        Of this package.
    outputs
        Size in bytes of each file written, by path relative to the folder of results.
    left
        Files of earlier calls that are still there where this one failed.
    facts
        The row of the group table.
    warnings, notes
        What was warned of and noted.
    command
        Words of the command that repeats it.
    traceback
        Of a fault in the program.
    """

    name: str
    entities: Mapping[str, str]
    status: str
    method: Mapping[str, Any]
    reason: str = ""
    inputs: Mapping[str, InputFile] = field(default_factory=dict)
    version: str = __version__
    outputs: Mapping[str, int] = field(default_factory=dict)
    left: tuple[str, ...] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    traceback: str = ""
    date: str = field(default_factory=lambda: datetime.now(timezone.utc).isoformat(timespec="seconds"))

    @property
    def key(self) -> str:
        """Hash of the inputs' contents, the method and the version."""
        return fingerprint({path: file.sha256 for path, file in self.inputs.items()}, self.method, self.version)

    def write(self, out: Path) -> Path:
        """Write the record in one step."""
        return write_json(record_path(out, self.name), {**dataclasses.asdict(self), "key": self.key})


def fingerprint(contents: Mapping[str, str], method: Mapping[str, Any], version: str) -> str:
    """Hash what a result depends on."""
    text = json.dumps(plain({"inputs": contents, "method": method, "version": version}), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def record_path(out: Path, name: str) -> Path:
    """Where the record of an acquisition is."""
    return out / FOLDER / f"{name}.json"


def read_record(path: Path) -> Record | None:
    """Read a record; None where there is none, or what is there is none."""
    try:
        content = read_json(path)
        content.pop("key")
        inputs = {name: InputFile(**values) for name, values in content.pop("inputs").items()}
        content |= {name: tuple(content[name]) for name in ("warnings", "notes", "command")}
        content["left"] = tuple(content.get("left", ()))  # which earlier records lack
        return Record(**content, inputs=inputs)
    except (DataError, KeyError, TypeError, AttributeError):
        return None


def written_before(out: Path, name: str) -> tuple[str, ...]:
    """Return the files of an acquisition that earlier calls have written, relative to the folder of results."""
    record = read_record(record_path(out, name))
    return () if record is None else tuple(sorted({*record.outputs, *record.left}))


def read_records(out: Path) -> list[Record]:
    """Read all records in the order of subjects, sessions and names."""
    found = [read_record(path) for path in sorted((out / FOLDER).glob("sub-*.json"))]
    return sorted(
        (record for record in found if record is not None),
        key=lambda one: (one.entities["sub"], one.entities.get("ses", ""), one.name),
    )


def is_done(root: Path, out: Path, acquisition: Acquisition, method: Mapping[str, Any]) -> bool:
    """Tell whether an acquisition is done: by the same version and method, from files of the same content.

    A file whose size and time are those of the record is not read again; one that was touched is, and where its
    content is the same the record learns the new time.

    Parameters
    ----------
    root, out
        The data set and the folder of results.
    acquisition
        What is asked about.
    method
        What is to be done to it.
    """
    record = read_record(record_path(out, acquisition.name))
    if record is None or record.status != DONE or record.version != __version__:
        return False
    if plain(dict(record.method)) != plain(dict(method)) or not _are_there(out, record.outputs):
        return False
    if set(record.inputs) != set(acquisition.inputs(root)):
        return False
    now = {path: file.still(root / path) for path, file in record.inputs.items()}
    if any(file is None for file in now.values()):
        return False
    if now != record.inputs:
        dataclasses.replace(record, inputs={path: file for path, file in now.items() if file}).write(out)
    return True


def _are_there(out: Path, outputs: Mapping[str, int]) -> bool:
    try:
        return all((out / path).stat().st_size == size for path, size in outputs.items())
    except OSError:
        return False


def all_files(root: Path, paths: Iterable[str]) -> dict[str, InputFile]:
    """Read files, for a record.

    Raises
    ------
    DataError
        If one cannot be read.
    """
    return {path: InputFile.of(root / path) for path in paths}
