"""The exception family.

Every error a user can cause is a :class:`QSMError`; its message names the file or argument, says what was
found, what was expected, and what to do.  Command lines turn these into one clean line and exit code 2.
"""

from __future__ import annotations

from collections.abc import Iterable


class QSMError(Exception):
    """Base of every error that this package raises on purpose."""


class DataError(QSMError, ValueError):
    """An input image, mask or array is missing, unreadable, inconsistent or physically impossible.

    Parameters
    ----------
    message
        The whole message.
    argument
        Name of the argument that it is about, where a caller may know the file that it came from.
    """

    def __init__(self, message: str, *, argument: str | None = None) -> None:
        super().__init__(message)
        self.argument = argument

    @property
    def text(self) -> str:
        """The message without the name of the argument in front of it."""
        return str(self).removeprefix(f"{self.argument}: ")


class ParameterError(QSMError, ValueError):
    """A parameter, option or algorithm name is unknown or out of its range."""


class ResourceError(QSMError, RuntimeError):
    """The machine lacks what the job needs: memory, disk space, a writable folder."""


class MissingDependencyError(QSMError, ImportError):
    """An optional library that the requested feature needs is not installed."""


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Suggest the known name closest to a misspelt one.

    Parameters
    ----------
    name
        What the user wrote.
    known
        The accepted names.

    Returns
    -------
    str
        ``"; did you mean 'x'?"`` when a near match exists, else the list of the accepted names.
    """
    names = sorted(known)
    name = str(name)  # something else may have been given for a name
    import difflib  # here, as hardly any run gets a name wrong

    spellings = (name, name.lower())
    close = [near for text in spellings for near in difflib.get_close_matches(text, names, n=1, cutoff=0.5)]
    if close:
        return f"; did you mean '{close[0]}'? (known: {', '.join(names)})"
    return f"; known: {', '.join(names)}"
