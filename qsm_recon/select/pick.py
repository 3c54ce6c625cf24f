"""What a rule for choosing a parameter says."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Pick:
    """A choice, or why there is none.

    Parameters
    ----------
    method
        Name of the rule.
    value
        Value of the parameter; None where there is no interior optimum or the rule does not apply.
    confidence
        From 0 (none) to 1: how clearly this rule sees it.  Of different rules only roughly comparable.
    reason
        One line: what it rests on, or why there is none.
    """

    method: str
    value: float | None
    confidence: float
    reason: str

    @property
    def found(self) -> bool:
        """Whether there is a value."""
        return self.value is not None


def none_found(method: str, reason: str) -> Pick:
    """Make the pick of a rule that finds nothing."""
    return Pick(method, None, 0.0, reason)
