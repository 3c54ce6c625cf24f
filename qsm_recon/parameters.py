"""Declared parameters: one declaration gives default, unit, range and help, for code, command line and docs."""

from __future__ import annotations

import dataclasses
import math
import textwrap
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, ClassVar

from qsm_recon.errors import ParameterError, did_you_mean
from qsm_recon.values import plain_value


@dataclass(frozen=True)
class Parameter:
    """What is known of one parameter of a method.

    Parameters
    ----------
    name
        Field name.
    default
        Its default; None means that the method works it out.
    unit
        Unit, "1" where dimensionless.
    help
        One line.
    low, high
        Inclusive range of numbers, None where open.
    choices
        Accepted words, empty for numbers.
    kind
        Type of the value: float, int, bool or str.
    main
        Whether it is the method's main regularisation parameter.
    """

    name: str
    default: Any
    unit: str
    help: str
    low: float | None
    high: float | None
    choices: tuple[str, ...]
    kind: type
    main: bool

    def describe_range(self) -> str:
        """Accepted values in words."""
        if self.choices:
            return " | ".join(self.choices)
        if self.kind is bool:
            return "true | false"
        low = "-∞" if self.low is None else f"{self.low:g}"
        high = "∞" if self.high is None else f"{self.high:g}"
        return f"{low} … {high}"

    def describe_default(self) -> str:
        """The default in words."""
        if self.default is None:
            return "auto"
        return str(self.default).lower() if self.kind is bool else str(self.default)

    def parse(self, text: str) -> Any:
        """Read a value given as text on a command line.

        Raises
        ------
        ParameterError
            If the text is not of the parameter's type.
        """
        if self.default is None and text.lower() in ("auto", "none"):
            return None
        if self.kind is bool:
            words = {"true": True, "yes": True, "1": True, "on": True, "false": False, "no": False, "0": False}
            words["off"] = False
            if text.lower() not in words:
                raise ParameterError(f"{self.name}: expected true or false, found '{text}'")
            return words[text.lower()]
        try:
            return self.kind(text)
        except ValueError as error:
            raise ParameterError(f"{self.name}: expected a {self.kind.__name__}, found '{text}'") from error

    def check(self, value: Any) -> None:
        """Check a value against type and range.

        Raises
        ------
        ParameterError
            If it does not fit.
        """
        if value is None and self.default is None:
            return
        if self.choices:
            if not isinstance(value, str) or value not in self.choices:
                raise ParameterError(f"{self.name}: '{value}' is not accepted{did_you_mean(str(value), self.choices)}")
            return
        number: Any = value
        accepted: tuple[type, ...] = (int, float) if self.kind is float else (self.kind,)
        if not isinstance(value, accepted) or (isinstance(value, bool) and self.kind is not bool):
            raise ParameterError(f"{self.name}: expected a {self.kind.__name__}, found {value!r}")
        too_low = self.low is not None and not number >= self.low
        too_high = self.high is not None and not number <= self.high
        if too_low or too_high or (self.kind is float and math.isnan(number)):
            raise ParameterError(
                f"{self.name}: {value:g} is out of range; expected {self.describe_range()} (unit {self.unit})"
            )


def parameter(
    default: Any,
    unit: str,
    help: str,
    *,
    low: float | None = None,
    high: float | None = None,
    choices: tuple[str, ...] = (),
    kind: type | None = None,
    main: bool = False,
) -> Any:
    """Declare a parameter as a field of a method's dataclass; see :class:`Parameter`."""
    if kind is None:
        kind = str if choices else type(default)
    declared = {"unit": unit, "help": help, "low": low, "high": high, "choices": choices, "kind": kind, "main": main}
    return dataclasses.field(default=default, metadata=declared)


def declared_parameters(method: type) -> dict[str, Parameter]:
    """Return the parameters of a method's class by name: the main one, then the others in order of declaration.

    Raises
    ------
    ParameterError
        If a field of the class is not made by :func:`parameter`.
    """
    for item in dataclasses.fields(method):
        if "unit" not in item.metadata:
            raise ParameterError(
                f"{method.__name__}: its field '{item.name}' is no declared parameter; make it by "
                f'{item.name}: … = parameter(default, "unit", "help", low=…, high=…)'
            )
    found = [Parameter(name=item.name, default=item.default, **item.metadata) for item in dataclasses.fields(method)]
    return {item.name: item for item in sorted(found, key=lambda item: not item.main)}


@dataclass(frozen=True)
class Method:
    """A method whose fields are its parameters, checked on construction.

    Subclasses are frozen dataclasses whose fields are made by :func:`parameter`.

    Raises
    ------
    ParameterError
        On construction, if a parameter is of the wrong type or out of range.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    citation: ClassVar[str]
    bibtex: ClassVar[str] = ""
    """BibTeX entries of papers that are not in the package's own bibliography, for methods of other packages."""

    def __post_init__(self) -> None:
        """Check every parameter against its declaration; numpy's numbers become Python's."""
        for name, declared in self.declared().items():
            value = plain_value(getattr(self, name))
            object.__setattr__(self, name, value)
            declared.check(value)

    @classmethod
    def declared(cls) -> dict[str, Parameter]:
        """Return the declared parameters by name."""
        return declared_parameters(cls)

    @classmethod
    def require_known(cls, names: Iterable[str]) -> None:
        """Check names of parameters.

        Raises
        ------
        ParameterError
            If one is unknown, with the nearest name.
        """
        declared = cls.declared()
        for name in names:
            if name not in declared:
                raise ParameterError(f"'{cls.name}' has no parameter '{name}'{did_you_mean(name, declared)}")

    def parameters(self) -> dict[str, Any]:
        """Return the parameter values by name."""
        return {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}

    def cited(self) -> str:
        """What to cite for the method as its parameters are; more than its citation where they choose parts of it."""
        return self.citation

    @classmethod
    def help_of(cls, declared: Parameter) -> str:
        """Help of a parameter, with what this method adds to it."""
        return declared.help

    @classmethod
    def describe(cls, kind: str, option: str) -> str:
        """Title, citation and parameters with default, unit, range and help, for help texts.

        Parameters
        ----------
        kind
            What the method is, such as ``algorithm``.
        option
            The command line's option that sets a parameter.
        """
        lines = [f"{kind} {cls.name}: {cls.title}", f"  {cls.citation}", f"  parameters ({option} NAME=VALUE):"]
        for declared in cls.declared().values():
            star = " (--regularisation)" if declared.main else ""
            lines.append(
                f"    {declared.name}{star}: default {declared.describe_default()}; {declared.describe_range()}; "
                f"unit {declared.unit}"
            )
            lines.extend(textwrap.wrap(cls.help_of(declared), 100, initial_indent=" " * 8, subsequent_indent=" " * 8))
        return "\n".join(lines)


def parse_settings(method: type[Method], texts: Iterable[str], option: str) -> dict[str, Any]:
    """Read parameter values given as ``NAME=VALUE``.

    Parameters
    ----------
    method
        Class of the method.
    texts
        What was given.
    option
        The command line's option that gave it, for errors.

    Raises
    ------
    ParameterError
        If a text is malformed, or a parameter is unknown or given twice.
    """
    declared = method.declared()
    chosen: dict[str, Any] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals:
            raise ParameterError(f"{option} {text}: expected NAME=VALUE")
        method.require_known((name,))
        if name in chosen:
            raise ParameterError(f"{option} {name}: given twice; give it once")
        chosen[name] = declared[name].parse(value)
    return chosen
