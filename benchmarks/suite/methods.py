"""The methods of the challenge's tables, cheap and well-known ones first, and the inputs they are given."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from benchmarks.suite.table import method_label
from qsm_recon.errors import ParameterError, did_you_mean
from qsm_recon.solvers.registry import solvers


@dataclass(frozen=True)
class Entry:
    """A method with parameters, and its class for figures.

    Where it is not tuned, its main parameter is no weight to be chosen, and keeps its default.
    """

    solver: str
    kind: str
    parameters: dict[str, Any] = field(default_factory=dict)
    tuned: bool = True

    @property
    def label(self) -> str:
        """Its name in tables."""
        return method_label(self.solver, self.parameters)


ENTRIES = (
    Entry("tkd", "closed form"),
    Entry("tsvd", "closed form"),
    Entry("tikhonov", "closed form"),
    Entry("tv", "total variation"),
    Entry("fansi", "total variation"),
    Entry("wl1l2", "l1 fidelity"),
    Entry("medi", "morphology"),
    Entry("ndi", "descent"),
    Entry("rts", "two steps"),
    Entry("tgv", "generalised variation"),
    Entry("fansi-tgv", "generalised variation"),
    Entry("wl1l2", "l1 fidelity", {"regularisation_weighting": "r2star"}),
    Entry("tfi", "morphology"),
    Entry("wl1", "l1 fidelity"),
    Entry("mctfi", "morphology"),
    Entry("l1qsm", "l1 fidelity"),
    Entry("wh-qsm", "weakly harmonic"),
    Entry("wh-nlqsm", "weakly harmonic"),
    Entry("admm", "l1 fidelity", {"fidelity": "l1", "regulariser": "tgv"}),
    Entry("qsminvnet", "learned", tuned=False),
    Entry("fine", "learned", tuned=False),
)
VARIED = ("tikhonov", "tv", "fansi", "wl1l2", "medi")
"""Methods that are also given the other inputs."""
NEED_ECHOES = ("mctfi",)


@dataclass(frozen=True)
class Input:
    """What a method is given."""

    name: str
    field: str
    magnitude: bool
    description: str


INPUTS = {
    given.name: given
    for given in (
        Input("fit", "fit", True, "nonlinear fit of the complex echoes, magnitude and noise"),
        Input("difference", "difference", True, "frequency map as the challenge provided it, magnitude"),
        Input("fit, field only", "fit", False, "the fitted field and the mask, nothing else"),
        Input("difference, field only", "difference", False, "the provided map and the mask, nothing else"),
    )
}
ECHOES, AS_GIVEN, BARE = "echoes", "as given", "as given, field only"
"""Input of the methods that take the complex echoes themselves, and of data sets with one field."""


def entries(only: list[str] | None = None) -> tuple[Entry, ...]:
    """The methods, plug-ins last; or those of some names.

    Those whose extra is not installed are left out unless they are named.

    Raises
    ------
    ParameterError
        If a name is unknown, or the extra of a named method is not installed.
    """
    known = {entry.solver for entry in ENTRIES}
    everyone = (*ENTRIES, *(Entry(name, "plug-in") for name in solvers() if name not in known))
    names = {entry.solver for entry in everyone}
    for name in only or ():
        if name not in names:
            raise ParameterError(f"--only: method '{name}' is unknown{did_you_mean(name, names)}")
        if missing := solvers()[name].missing():
            raise ParameterError(
                f"--only: '{name}' needs {' and '.join(missing)}; pip install 'qsm_recon[{solvers()[name].extra}]'"
            )
    chosen = only or [name for name, solver in solvers().items() if not solver.missing()]
    return tuple(entry for entry in everyone if entry.solver in chosen)


def input_name(entry: Entry, given: Input, *, phantom: bool = True) -> str:
    """Name of what a method is given, in tables; it may take the echoes themselves, and of other data what is there."""
    if entry.solver in NEED_ECHOES:
        return ECHOES
    return given.name if phantom else AS_GIVEN if given.magnitude else BARE


def takes(entry: Entry, given: Input) -> bool:
    """Whether a method can do with an input."""
    needs = entry.solver in NEED_ECHOES or "r2star" in entry.parameters.values()
    return given.name == "fit" if needs else True
