"""Score reconstructions against a truth: ``python -m qsm_recon.evaluate chi.nii.gz --truth T --mask M --labels L``.

Works on the susceptibility map of any software, in ppm.  One file is listed with its metrics; several are ranked.
With ``--json``, one file (or one pair of simulations) prints exactly the metrics as a JSON object; several print
the whole table.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np

from qsm_recon.commands.line import EXIT_DONE, CommandParser, add_version_option, require_writable, run_command
from qsm_recon.errors import DataError, ParameterError
from qsm_recon.file_names import plain_name
from qsm_recon.io import Image, load_image, load_mask, require_same_geometry, write_json
from qsm_recon.metrics import OFFICIAL_METRICS, SIMILARITY_METRICS, Scores, combine_cases, evaluate, rank
from qsm_recon.metrics.plausibility import other_unit
from qsm_recon.metrics.ranking import TOP
from qsm_recon.metrics.rc2 import Variant
from qsm_recon.metrics.scores import METRIC_UNITS
from qsm_recon.metrics.zero_point import zero_point

HEADINGS = {
    "nrmse": "NRMSE",
    "dnrmse": "dNRMSE",
    "dnrmse_tissue": "tissue",
    "dnrmse_blood": "blood",
    "dnrmse_dgm": "deep grey",
    "linear_slope_deviation": "slope",
    "calcification_streaking": "streaks",
    "calcification_moment_deviation": "moment",
}
TITLE_LETTERS = 48


@dataclass(frozen=True)
class Reference:
    """What reconstructions are compared with."""

    truth: Image
    mask: Image
    labels: Image | None


@dataclass(frozen=True)
class Entry:
    """One scored submission: its files and scores per simulation, and the scores it is ranked by."""

    files: tuple[Path, ...]
    scores: tuple[Scores, ...]
    final: Scores


def build_parser() -> argparse.ArgumentParser:
    """Describe the command line."""
    parser = CommandParser(
        prog="python -m qsm_recon.evaluate",
        description="Score susceptibility maps (ppm) from any software against a truth.",
    )
    parser.add_argument("maps", nargs="+", type=Path, metavar="CHI", help="reconstructions in ppm (NIfTI)")
    parser.add_argument("--truth", required=True, type=Path, help="true susceptibility in ppm")
    parser.add_argument("--mask", required=True, type=Path, help="where to evaluate")
    parser.add_argument("--labels", type=Path, help="label map with the challenge's numbers, for metrics of regions")
    parser.add_argument(
        "--variant",
        choices=("rc2", "community"),
        default="rc2",
        help="rc2: as the 2019 challenge's code computes (default); community: as the QSM-CI scorer computes",
    )
    parser.add_argument(
        "--calcification-moment", type=float, metavar="M", help="true moment in ppm × voxels; default: from the truth"
    )
    parser.add_argument("--json", action="store_true", help="print JSON on standard output, and nothing else")
    parser.add_argument("--out", type=Path, metavar="DIR", help="folder for error maps and scores.json")
    parser.add_argument("--no-figure", action="store_true", help="draw no error map into --out")
    add_version_option(parser)
    second = parser.add_argument_group(
        "second simulation", "combine two cases as the challenge did: CHI and those above are the first simulation"
    )
    second.add_argument("--sim2", nargs="+", type=Path, metavar="CHI", help="the maps of the second, in the same order")
    second.add_argument("--sim2-truth", type=Path, metavar="TRUTH")
    second.add_argument("--sim2-mask", type=Path, metavar="MASK")
    second.add_argument("--sim2-labels", type=Path, metavar="LABELS")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return 0, 2 after one line about what is wrong with the input, or 130 where interrupted."""
    options = build_parser().parse_args(arguments)
    return run_command(lambda: _run(options), interrupted="interrupted")


def _run(options: argparse.Namespace) -> int:
    names = _figure_names([*options.maps, *(options.sim2 or [])])
    if options.out:  # before minutes are spent on it
        require_writable(options.out, f"--out {options.out}", "choose another")
    cases = [_load_case(options.truth, options.mask, options.labels)]
    if options.sim2 is not None:
        cases.append(_load_second_case(options))
    drawn: list[str] = []
    entries = []
    groups = list(zip(options.maps, options.sim2, strict=True)) if options.sim2 else [(path,) for path in options.maps]
    with _results(options.out) as folder:
        for files in _progress(groups):
            scores = []
            for path, case in zip(files, cases, strict=True):
                image = _load_map(path, case)
                scores.append(_score(image, case, options))
                _remark_on_zero_point(image, case, scores[-1], options.variant)
                if folder and not options.no_figure:
                    drawn.append(_draw(image, case, scores[-1], folder / f"{names[path]}_error.png").name)
            entries.append(Entry(files, tuple(scores), combine_cases(*scores) if len(scores) == 2 else scores[0]))
        record = _record(entries, options)
        if folder:
            write_json(folder / "scores.json", record)
    if options.json:
        print(entries[0].final.as_json() if len(entries) == 1 else json.dumps(record, indent=2, allow_nan=False))
        _explain(entries, sys.stderr)
        return EXIT_DONE
    print(_listing(entries[0], options.variant) if len(entries) == 1 else _table(entries, options.variant))
    _explain(entries, sys.stdout)
    for name in drawn:
        print(f"error map: {options.out / name}")
    return EXIT_DONE


def _results(folder: Path | None) -> AbstractContextManager[Path | None]:
    """Where to write to, for all results or none to come to their folder in the end; None where there is none."""
    if folder is None:
        return nullcontext()
    from qsm_recon.report.outputs import all_or_nothing

    return all_or_nothing(folder)


def _load_case(truth: Path, mask: Path, labels: Path | None) -> Reference:
    case = Reference(
        load_image(truth, dtype=np.float64), load_mask(mask), load_image(labels, dtype=np.float64) if labels else None
    )
    require_same_geometry(case.truth, case.mask)
    if case.labels is not None:
        require_same_geometry(case.truth, case.labels)
    return case


def _load_second_case(options: argparse.Namespace) -> Reference:
    if options.sim2_truth is None or options.sim2_mask is None:
        raise ParameterError("--sim2 also needs --sim2-truth and --sim2-mask")
    if len(options.sim2) != len(options.maps):
        raise ParameterError(
            f"--sim2: {len(options.sim2)} map(s) for {len(options.maps)} of the first simulation; give one for each"
        )
    return _load_case(options.sim2_truth, options.sim2_mask, options.sim2_labels)


def _load_map(path: Path, case: Reference) -> Image:
    """Load a reconstruction and check that it can be compared with the truth."""
    image = load_image(path, dtype=np.float64)
    require_same_geometry(case.truth, image)
    found = other_unit(image.data, case.truth.data, case.mask.data)
    if found is not None:
        logging.getLogger(__name__).warning("%s: %s (truth: %s)", path, found, case.truth.path)
    return image


def _score(image: Image, case: Reference, options: argparse.Namespace) -> Scores:
    try:
        return evaluate(
            image.data,
            case.truth.data,
            case.mask.data,
            None if case.labels is None else case.labels.data,
            variant=options.variant,
            calcification_moment=options.calcification_moment,
        )
    except DataError as error:
        # the library names the argument, the user knows the file
        source = {"truth": case.truth, "mask": case.mask, "labels": case.labels}.get(error.argument or "")
        raise DataError(str(error) if source is None else f"{source.path}: {error.text}") from error


def _remark_on_zero_point(image: Image, case: Reference, scores: Scores, variant: Variant) -> None:
    """Warn where another zero point than the truth's moves the scores that depend on it."""
    found = zero_point(image.data, case.truth.data, case.mask.data, scores, variant=variant)
    if found.matters:
        logging.getLogger(__name__).warning("%s: %s", image.path, found.describe())


def _draw(image: Image, case: Reference, scores: Scores, path: Path) -> Path:
    from qsm_recon.report.error_figure import error_figure, save_error_figure

    figure = error_figure(
        image.data, case.truth.data, case.mask.data, affine=image.affine, title=_title(image.path, case, scores)
    )
    return save_error_figure(path, figure)


def _title(path: Path, case: Reference, scores: Scores) -> str:
    error = scores.values["nrmse"]
    title = f"{_shortened(path)}\nagainst {_shortened(case.truth.path)}"
    return title if error is None else f"{title}: NRMSE {error:.1f} %"


def _shortened(path: Path) -> str:
    """A path as it was given, of a long one its end: maps of one name differ by their folders."""
    text = str(path)
    return text if len(text) <= TITLE_LETTERS else f"…{text[1 - TITLE_LETTERS :]}"


def _figure_names(files: Sequence[Path]) -> dict[Path, str]:
    """Name for each file's figure: its own name, with its folders where that is not unique."""
    if len(set(files)) < len(files):
        raise ParameterError("a map is given twice")
    names = {path: plain_name(path) for path in files}
    taken = list(names.values())
    unique: dict[Path, str] = {}
    for path, name in names.items():
        parts = () if taken.count(name) == 1 else (part for part in path.parent.parts if part not in ("/", ".."))
        wanted = "_".join((*parts, name))
        same = (f"{wanted}_{number}" for number in count(2))  # ../a/chi and a/chi
        unique[path] = wanted if wanted not in unique.values() else next(n for n in same if n not in unique.values())
    return unique


def _progress(groups: list[Any]) -> Any:
    from tqdm import tqdm

    return tqdm(groups, unit="map", disable=len(groups) < 3 or not sys.stderr.isatty())


def _record(entries: Sequence[Entry], options: argparse.Namespace) -> dict[str, Any]:
    """Everything that was found, best first."""
    standings = rank([entry.final for entry in entries])
    return {
        "variant": options.variant,
        "truth": str(options.truth),
        "mask": str(options.mask),
        "labels": None if options.labels is None else str(options.labels),
        "reconstructions": [
            {
                "files": [str(path) for path in entries[standing.index].files],
                "place": standing.place,
                "top_five_appearances": standing.top_five_appearances if len(entries) > TOP else None,
                "scores": entries[standing.index].final.values,
                "reasons": entries[standing.index].final.reasons,
            }
            for standing in standings
        ],
    }


def _listing(entry: Entry, variant: str) -> str:
    """One submission, a metric per line; with two simulations, both and their combination."""
    columns = [*entry.scores, entry.final] if len(entry.scores) > 1 else [entry.final]
    lines = [f"{' + '.join(map(str, entry.files))} (variant {variant})"]
    if len(columns) > 1:
        lines.append(" " * 32 + "".join(f"{heading:>12}" for heading in ("SIM1", "SIM2", "combined")))
    lines += [
        f"{name:<32}" + "".join(f"{_number(column.values[name]):>12}" for column in columns) + _unit(name)
        for name in entry.final.values
    ]
    return "\n".join(lines)


def _table(entries: Sequence[Entry], variant: str) -> str:
    """Several submissions, best first: the official eight, then the further metrics."""
    standings = rank([entry.final for entry in entries])
    files = {standing.index: " + ".join(map(str, entries[standing.index].files)) for standing in standings}
    counted = len(entries) > TOP
    order = (
        "top five: in how many of the eight a map is among the five best"
        if counted
        else f"of {TOP} maps or fewer all are among the five best: the order is that of NRMSE"
    )
    official = (
        f"{'place':>5}"
        + (f"{'top five':>10}" if counted else "")
        + "".join(f"{HEADINGS[name]:>10}" for name in OFFICIAL_METRICS)
    )
    further = f"{'place':>5}" + "".join(f"{name:>10}" for name in SIMILARITY_METRICS)
    units = ", ".join(f"{HEADINGS.get(name, name)} in {unit}" for name, unit in METRIC_UNITS.items() if unit != "%")
    per_cent = ", ".join(HEADINGS.get(name, name) for name, unit in METRIC_UNITS.items() if unit == "%")
    lines = [
        f"variant {variant}; {order}; {per_cent} in %, {units}",
        f"{official}  map",
    ]
    for standing in standings:
        values = entries[standing.index].final.values
        cells = "".join(f"{_number(values[name]):>10}" for name in OFFICIAL_METRICS)
        appearances = f"{standing.top_five_appearances:>10}" if counted else ""
        lines.append(f"{standing.place:>5}{appearances}{cells}  {files[standing.index]}")
    lines += ["", f"{further}  map"]
    for standing in standings:
        values = entries[standing.index].final.values
        cells = "".join(f"{_number(values[name]):>10}" for name in SIMILARITY_METRICS)
        lines.append(f"{standing.place:>5}{cells}  {files[standing.index]}")
    return "\n".join(lines)


def _explain(entries: Sequence[Entry], stream: Any) -> None:
    """Say once per reason which metrics could not be computed."""
    for entry in entries:
        by_reason: dict[str, list[str]] = {}
        for name, reason in entry.final.reasons.items():
            by_reason.setdefault(reason, []).append(name)
        prefix = f"{entry.files[0]}: " if len(entries) > 1 else ""
        for reason, names in by_reason.items():
            print(f"{prefix}not computed: {', '.join(names)} ({reason})", file=stream)


def _unit(name: str) -> str:
    unit = METRIC_UNITS.get(name)
    return "" if unit is None else f" {unit}"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"
