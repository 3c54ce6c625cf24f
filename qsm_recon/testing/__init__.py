"""Checks for solvers and terms of your own: what those of this package pass, for a plug-in's test suite.

    from qsm_recon.testing import check_solver, check_term

    def test_my_solver():
        check_solver(MySolver)

Each check is a law on a small synthetic measurement (:class:`qsm_recon.testing.measurement.Measurement`).
"""

from __future__ import annotations

from qsm_recon.solvers.base import Solver
from qsm_recon.terms.fidelity import Fidelity
from qsm_recon.terms.regulariser import Regulariser
from qsm_recon.testing.laws import BrokenLawError, Laws
from qsm_recon.testing.regulariser_laws import RegulariserLaws
from qsm_recon.testing.solver_laws import SolverLaws
from qsm_recon.testing.term_laws import FidelityLaws

__all__ = ["BrokenLawError", "check_solver", "check_term"]


def check_solver(solver: type[Solver]) -> None:
    """Check all that every solver must do.

    Parameters
    ----------
    solver
        The class; it need not be registered.

    Raises
    ------
    BrokenLawError
        If it does not, with every law that it breaks, and what was found.
    """
    _check(SolverLaws(solver), solver.__name__)


def check_term(term: Fidelity | Regulariser) -> None:
    """Check that the parts of a data fidelity or a regulariser fit together.

    Parameters
    ----------
    term
        With its parameters, such as ``HuberFidelity(knee=0.01)``.

    Raises
    ------
    BrokenLawError
        If they do not, with every law that it breaks, and what was found.
    """
    laws: Laws = FidelityLaws(term) if isinstance(term, Fidelity) else RegulariserLaws(term)
    _check(laws, type(term).__name__)


def _check(laws: Laws, name: str) -> None:
    broken: list[str] = []
    cause: Exception | None = None
    for law in laws.names():
        try:
            laws.check(law)
        except BrokenLawError as error:
            broken.append(f"{law}: {error}")
        except Exception as error:  # of the class that is tried, whatever it is
            broken.append(f"{law}: it raised {type(error).__name__}: {error}")
            cause = error
    if broken:
        raise BrokenLawError(
            f"{name} breaks {len(broken)} of {len(laws.names())} laws\n" + "\n".join(broken)
        ) from cause
