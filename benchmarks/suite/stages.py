"""Plans of the challenge's two stages."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.suite.cases import PHANTOM, name_of
from benchmarks.suite.job import Job
from benchmarks.suite.methods import INPUTS, VARIED, Entry, Input, input_name, takes
from benchmarks.suite.record import Record
from benchmarks.suite.runner import Known, Plan, Planned
from qsm_recon.errors import ParameterError

ONE_SET, EACH = "one set", "each"
SNRS = {"SNR1": 100, "SNR2": 1000}


@dataclass(frozen=True)
class Data:
    """A data set of a table.

    Parameters
    ----------
    case
        Name in the table.
    specification
        See :func:`benchmarks.suite.cases.load`.
    snr
        Column of the second stage that it belongs to; empty where there is only one.
    """

    case: str
    specification: str
    snr: str = ""

    def given(self, what: Input) -> str:
        """Its specification with a certain field."""
        if not self.specification.startswith(PHANTOM) or "field=" in self.specification:
            return self.specification
        return f"{self.specification}{'&' if '?' in self.specification else '?'}field={what.field}"

    def offers(self, what: Input) -> bool:
        """Whether there is such an input: another field can only be asked of the phantom."""
        phantom = self.specification.startswith(PHANTOM) and "field=" not in self.specification
        return phantom or what.field == "fit"


def phantom_data(stage: int, size: str) -> list[Data]:
    """The phantoms of a stage."""
    snrs = {"SNR1": SNRS["SNR1"]} if stage == 1 else SNRS
    return [
        Data(name.upper(), f"{PHANTOM}{name}?size={size}&snr={snr}", label)
        for label, snr in snrs.items() for name in ("sim1", "sim2")
    ]  # fmt: skip


def other_data(specifications: Sequence[str]) -> list[Data]:
    """Data sets of a user.

    Raises
    ------
    ParameterError
        If two have one name: a table would hold the rows of the latter only.
    """
    named: dict[str, str] = {}
    for text in specifications:
        former = named.setdefault(name_of(text), text)
        if former != text:
            raise ParameterError(
                f"data sets '{former}' and '{text}' are both called '{name_of(text)}'; rename a folder, or run them "
                "one by one with a --results each"
            )
    return [Data(name, text) for name, text in named.items()]


def wanted(chosen: Sequence[Entry], inputs: Sequence[str]) -> list[tuple[Entry, Input]]:
    """Methods and their inputs: the fit for all of them first, then the others for a few."""
    first = [(entry, INPUTS["fit"]) for entry in chosen if "fit" in inputs]
    varied = [entry for entry in chosen if entry.solver in VARIED and not entry.parameters]
    others = [INPUTS[name] for name in inputs if name != "fit"]
    return first + [(entry, given) for entry in varied for given in others if takes(entry, given)]


def stage_one(chosen: Sequence[Entry], inputs: Sequence[str], data: Sequence[Data], rule: str = "auto") -> Plan:
    """Plan of stage 1: one set of parameters for all data sets, chosen without the truth.

    The rule chooses on each data set by itself; the geometric mean of what it finds is the one set.
    """

    def plan(known: Known) -> list[Planned]:
        planned: list[Planned] = []
        for entry, given in wanted(chosen, inputs):
            usable = [one for one in data if one.offers(given)]
            each = {one: _job(entry, given, one, rule if entry.tuned else "default") for one in usable}
            planned += [Planned(job, _tags(entry, given, one, EACH)) for one, job in each.items()]
            if not entry.tuned and all(known(job) is not None for job in each.values()):
                planned += [Planned(job, _tags(entry, given, one, ONE_SET), keep_map=True) for one, job in each.items()]
            if not entry.tuned:
                continue
            found = [known(job) for job in each.values()]
            value = one_set(found) if all(record is not None for record in found) else None
            if value is not None:
                planned += [
                    Planned(_job(entry, given, one, value), _tags(entry, given, one, ONE_SET), keep_map=True)
                    for one in usable
                ]
        return planned

    return plan


def stage_two(chosen: Sequence[Entry], inputs: Sequence[str], data: Sequence[Data]) -> Plan:
    """Plan of stage 2: on every data set the weight with the smallest NRMSE, the truth in hand."""

    def plan(known: Known) -> list[Planned]:
        return [
            Planned(
                _job(entry, given, one, "truth" if entry.tuned else "default"), _tags(entry, given, one, EACH),
                keep_map=True,
            )
            for entry, given in wanted(chosen, inputs) for one in data if one.offers(given)
        ]  # fmt: skip

    return plan


def one_set(found: Sequence[Record | None]) -> float | None:
    """Geometric mean of the weights that were found; None where there is none."""
    weights = [record.weight for record in found if record is not None and not record.failed and record.weight]
    return math.exp(sum(math.log(weight) for weight in weights) / len(weights)) if weights else None


def _job(entry: Entry, given: Input, one: Data, weight: str | float) -> Job:
    return Job.of(entry.solver, one.given(given), weight, entry.parameters, magnitude=given.magnitude)


def _tags(entry: Entry, given: Input, one: Data, choice: str) -> dict[str, str]:
    tags = {"method": entry.label, "class": entry.kind, "data": one.case}
    tags["input"] = input_name(entry, given, phantom=one.specification.startswith(PHANTOM))
    return {**tags, "choice": choice, **({"snr": one.snr} if one.snr else {})}
