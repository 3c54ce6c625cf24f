"""The page of a run: one HTML file with words, numbers, pictures and a viewer, which needs no network."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterable, Sequence
from html import escape
from importlib.resources import files
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qsm_recon.background.registry import find_removal
from qsm_recon.datasets.case import Case
from qsm_recon.io import plain
from qsm_recon.parameters import Parameter
from qsm_recon.report.page_images import MOST_VOXELS, PageImage, packed_images, page_images
from qsm_recon.report.page_mark import GENERATOR
from qsm_recon.report.run_histograms import as_svg, histograms, labelled_regions, region_histograms
from qsm_recon.report.run_words import (
    HIGHER_IS_BETTER,
    METRICS,
    account,
    main_parameter,
    notes_of,
    warnings_of,
    weight_origin,
    with_unit,
)
from qsm_recon.solvers.registry import find_solver

STAGES = {
    "read": "reading the input",
    "background": "background removal",
    "solve": "inversion",
    "metrics": "error metrics",
}


def run_page(
    document: dict[str, Any],
    case: Case,
    susceptibility: NDArray[np.float32],
    covered: NDArray[np.bool_],
    figure_png: bytes,
) -> str:
    """Return the page of a run.

    Parameters
    ----------
    document
        Its record, see :func:`qsm_recon.report.document.run_document`.
    case
        The data set, with its truth where known.
    susceptibility
        (nx, ny, nz) the map in ppm as it is written.
    covered
        (nx, ny, nz) the voxels that have a result.
    figure_png
        The picture of the run.
    """
    document = plain(document)
    images = page_images(case, susceptibility, covered)
    geometry, packed = packed_images(images, case)
    page = files("qsm_recon.report") / "page"
    parts = {
        "TITLE": escape(f"{case.name}: susceptibility map"),
        "GENERATOR": escape(GENERATOR),
        "STYLE": (page / "run.css").read_text("utf-8"),
        "SCRIPT": (page / "viewer.js").read_text("utf-8"),
        "HEAD": _head(document),
        "WARNINGS": _warnings(document),
        "ACCOUNT": _definitions(account(document)),
        "NOTES": _notes(notes_of(document)),
        "VIEWER_NOTE": escape(_viewer_note(images, geometry, case)),
        "FIGURE": _picture("image/png", base64.b64encode(figure_png).decode("ascii"), "The run's figure"),
        "HISTOGRAMS": _histograms(case, susceptibility, covered),
        "REGIONS": _regions(case, susceptibility, covered),
        "METRICS": _metrics(document["metrics"]),
        "COMMAND": escape(document["run"]["command_line"]),
        "RECORD": _record(document),
        "CONTENT": json.dumps(plain(geometry), allow_nan=False).replace("<", "\\u003c"),
        "IMAGES": "\n".join(
            f'<script type="text/plain" id="image-{key}">{text}</script>' for key, text in packed.items()
        ),
    }
    # In one pass, so that a mark inside a file's name stays what it is.
    return re.sub(r"\{\{([A-Z_]+)\}\}", lambda mark: parts[mark[1]], (page / "run.html").read_text("utf-8"))


def _head(document: dict[str, Any]) -> str:
    result, main = document["result"], main_parameter(document)
    value = with_unit(document["algorithm"]["parameters"][main.name]["value"], main.unit)
    kind = "converged" if result["converged"] else "not-converged"
    state = kind.replace("-", " ") if result["iterations"] or not result["converged"] else "closed form"
    facts = [document["algorithm"]["title"], f"{main.name.replace('_', ' ')} {value}"]
    if document["background"] is not None:
        facts.append(f"background removed by {document['background']['name']}")
    if document["metrics"].get("nrmse") is not None:
        facts.append(f"NRMSE {document['metrics']['nrmse']:.1f} %")
    facts.append(document["run"]["date"].replace("T", " ").replace("+00:00", " UTC"))
    notes = len(notes_of(document))
    link = f' · <a href="#notes">{notes} note{"" if notes == 1 else "s"}</a>' if notes else ""
    return (
        f"<h1>{escape(document['input']['name'])} <small>susceptibility map</small> "
        f'<span class="state {kind}">{state}</span></h1>\n'
        f"<p>{escape(' · '.join(facts))}{link}</p>"
    )


def _warnings(document: dict[str, Any]) -> str:
    found = warnings_of(document)
    if not found:
        return ""
    title = "Warning" if len(found) == 1 else "Warnings"
    return f'<section id="warnings" role="alert"><h2>{title}</h2>{_list(found)}</section>'


def _notes(notes: Sequence[str]) -> str:
    return f'<section id="notes"><h2>Notes</h2>{_list(notes)}</section>' if notes else ""


def _list(items: Iterable[str]) -> str:
    return "<ul>" + "".join(f"<li>{escape(item)}</li>" for item in items) + "</ul>"


def _definitions(items: Iterable[tuple[str, str]]) -> str:
    return "<dl>" + "".join(f"<dt>{escape(term)}</dt><dd>{escape(text)}</dd>" for term, text in items) + "</dl>"


def _viewer_note(images: Sequence[PageImage], geometry: dict[str, Any], case: Case) -> str:
    steps = ", ".join(f"{image.name} {with_unit(float(f'{image.step:.2g}'), image.unit)}" for image in images)
    text = (
        f"Values are those of the written maps, rounded to whole steps ({steps}). Voxels are counted from zero as in "
        "the files; millimetres are the coordinates of the image's header (x to the right, y to anterior, z to "
        "superior). The subject's right is on the right."
    )
    text += _oblique(case)
    if any(image.key == "error" for image in images):
        text += " The error is the map less the truth, less its mean."
    if geometry["stride"] > 1:
        each = {2: "second", 3: "third"}.get(geometry["stride"], f"{geometry['stride']}th")
        text += f" The image is larger than {MOST_VOXELS} voxels: every {each} along each axis is shown."
    return text


def _oblique(case: Case) -> str:
    """Say where letters and axes only nearly agree, or nobody knows."""
    if case.scanner_affine is None:
        return " The header does not say where the scanner's axes are: the letters are those of its affine."
    axes = case.affine[:3, :3] / np.linalg.norm(case.affine[:3, :3], axis=0)
    angle = float(np.degrees(np.arccos(np.clip(np.abs(axes).max(axis=0).min(), 0, 1))))
    if angle < 0.5:
        return ""
    return f" The image is oblique: planes follow its axes, up to {angle:.0f}° off the directions of the letters."


def _picture(kind: str, content: str, name: str) -> str:
    return f'<img alt="{escape(name)}" src="data:{kind};base64,{content}">'


def _histograms(case: Case, susceptibility: NDArray[np.float32], covered: NDArray[np.bool_]) -> str:
    figures = {"Histograms of field and susceptibility": histograms(case, susceptibility, covered)}
    regions = region_histograms(case, susceptibility, covered)
    if regions is not None:
        figures["Histograms by region, susceptibility in ppm"] = regions
    return "\n".join(
        f"<figure>{_picture('image/svg+xml', as_svg(figure), name)}<figcaption>{name}; what lies beyond the axis is "
        "counted in its outermost bars.</figcaption></figure>"
        for name, figure in figures.items()
    )


def _regions(case: Case, susceptibility: NDArray[np.float32], covered: NDArray[np.bool_]) -> str:
    regions = labelled_regions(case, covered)
    if not regions or case.truth is None:
        return ""
    rows = []
    for name, region in regions.items():
        found, truth = susceptibility[region].astype(float), case.truth.susceptibility_ppm[region].astype(float)
        numbers = (found.mean(), found.std(), truth.mean(), truth.std(), found.mean() - truth.mean())
        rows.append([name, str(int(region.sum())), *(f"{number:.4f}" for number in numbers)])
    columns = ["region", "voxels", "map, mean", "map, SD", "truth, mean", "truth, SD", "difference of means"]
    return "<h2>Regions</h2><p>Susceptibility in ppm.</p>" + _table(columns, rows)


def _metrics(metrics: dict[str, Any]) -> str:
    if not metrics:
        return ""
    reasons, rows = metrics.get("not_computed", {}), []
    for name, value in metrics.items():
        if name in ("not_computed", "voxels", "voxels_left_out"):
            continue
        title, unit = METRICS.get(name, (name.replace("_", " "), "1"))
        shown = with_unit(float(value), unit) if value is not None else f"not computed: {reasons.get(name, '')}"
        rows.append([title, shown, "higher is better" if name in HIGHER_IS_BETTER else "lower is better"])
    left_out = metrics.get("voxels_left_out", 0)
    text = f"Against the truth, in {metrics['voxels']} voxels" + (f"; {left_out} are left out." if left_out else ".")
    return f"<h2>Error metrics</h2><p>{escape(text)}</p>" + _table(["metric", "value", ""], rows)


def _record(document: dict[str, Any]) -> str:
    """Tables for whoever wants to repeat or check the run."""
    algorithm, run = document["algorithm"], document["run"]
    origin = {main_parameter(document).name: weight_origin(document)}
    parameters = _parameters(algorithm, find_solver(algorithm["name"]).declared(), origin)
    if document["background"] is not None:
        removal = document["background"]
        parameters += _parameters(removal, find_removal(removal["name"]).declared(), {})
    timings = [
        [STAGES.get(name, name.replace("_", " ")), f"{seconds:.2f} s"]
        for name, seconds in document["timings_s"].items()
        if name != "background" or document["background"] is not None
    ]
    inputs = [
        [role, item["source"], ", ".join(_several(item.get("sha256")))]
        for role, item in document["input"]["files"].items()
    ]
    machine = [["threads", str(run["threads"])], ["memory estimate", f"{run['memory_estimate_gib']:.3g} GiB"]]
    written = ["chi.nii.gz", *document["result"]["further_maps"], *document["stages"], "figure.png", "report.json"]
    checksum = [["voxels of chi.nii.gz (float32, C order), SHA-256", document["result"]["voxels_sha256"]]]
    return "\n".join(
        f"<h3>{heading}</h3>{table}"
        for heading, table in (
            ("Parameters", _table(["method", "parameter", "value", "chosen by"], parameters)),
            ("Times", _table(["stage", "time"], [*timings, *machine])),
            ("Input", _table(["role", "source", "SHA-256"], inputs)),
            ("Output", f"<p>{escape(', '.join(written))}</p>" + _table(["checksum", ""], checksum)),
            ("Versions", _table(["software", "version"], [list(item) for item in document["software"].items()])),
        )
    )


def _parameters(method: dict[str, Any], declared: dict[str, Parameter], origins: dict[str, str]) -> list[list[str]]:
    """Rows on the parameters of a method (inversion or background removal), and who chose each."""
    rows = []
    for name, item in method["parameters"].items():
        value = item["value"]
        origin = "default" if value == declared[name].default else "command line"
        shown = "follows the data" if value is None else with_unit(value, item["unit"])
        rows.append([method["name"], name, shown, origins.get(name, origin)])
    return rows


def _several(value: Any) -> list[str]:
    return value if isinstance(value, list) else [value] if value else []


def _table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    rows = list(rows)
    # Columns of plain numbers are set flush right.
    kinds = [
        ' class="number"' if rows and all(re.fullmatch(r"-?\d+(\.\d+)?", row[index]) for row in rows) else ""
        for index in range(len(columns))
    ]
    head = "".join(f"<th{kind}>{escape(column)}</th>" for column, kind in zip(columns, kinds, strict=True))
    body = "".join(
        "<tr>" + "".join(f"<td{kind}>{escape(cell)}</td>" for cell, kind in zip(row, kinds, strict=True)) + "</tr>"
        for row in rows
    )
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'
