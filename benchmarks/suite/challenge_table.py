"""Tables of the challenge's stages, from stored rows."""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.suite.published import BEST, CITATION, SINGLE, STAGES, published_nrmse
from benchmarks.suite.record import METRICS, Row
from benchmarks.suite.stages import EACH, ONE_SET, SNRS
from benchmarks.suite.standings import PAIR, Submission, rank_correlation, submissions
from benchmarks.suite.table import SHORT, failures, markdown, metric_cells, number, seconds
from qsm_recon.metrics import OFFICIAL_METRICS
from qsm_recon.metrics.scores import SIMILARITY_METRICS


def stage_tables(rows: Sequence[Row], stage: int) -> str:
    """All tables of a stage."""
    if not rows:
        return "Nothing is stored."
    choice = ONE_SET if stage == 1 else EACH
    parts = []
    for snr in [name for name in (*SNRS, "") if any(row.tags.get("snr", "") == name for row in rows)]:
        shown = [row for row in rows if row.tags.get("snr", "") == snr]
        paired = [row for row in shown if row.tags["data"] in PAIR]
        if paired:
            title = f"SIM1 and SIM2, {snr} (peak SNR {SNRS[snr]})" if snr else "SIM1 and SIM2"
            parts.append(_paired(submissions(paired, choice, snr), stage, title))
            if stage == 1:
                parts.append(_one_set_costs(submissions(paired, ONE_SET, snr), submissions(paired, EACH, snr)))
        for name in dict.fromkeys(row.tags["data"] for row in shown if row.tags["data"] not in PAIR):
            alone = [row for row in shown if row.tags["data"] == name]
            parts.append(_table(submissions(alone, choice, snr), name))
    parts += [failures(rows), _missing(rows)]
    return "\n\n".join(filter(None, parts))


def _paired(found: Sequence[Submission], stage: int, title: str) -> str:
    parts = [_table(found, title, stage)]
    entries = ", ".join(f"{row.entry} {row.nrmse:g}" for row in STAGES[stage])
    parts.append(
        f"Published NRMSE of stage {stage}, on the challenge's own phantom: {entries}; best {BEST[stage]:g}"
        + (f"; {SINGLE}" if stage == 1 else "") + f" ({CITATION})."
    )  # fmt: skip
    correlation = rank_correlation(found, stage)
    if correlation is None:
        parts.append("Rank correlation with the published order: fewer than three of its methods differ in NRMSE.")
    else:
        value, names = correlation
        listed = ", ".join(f"`{name}`" for name in names)
        parts.append(
            f"Rank correlation (Spearman) of NRMSE with the published order: {value:.2f}, {len(names)} methods "
            f"({listed})."
        )
    return "\n\n".join(parts)


def _table(found: Sequence[Submission], title: str, stage: int | None = None) -> str:
    """All metrics of submissions, beside what was published of a stage; None for data that are not the challenge's."""
    scored = [one for one in found if one.scores.values]
    if not scored:
        return f"**{title}**: no submission has a result for all its data sets yet."
    official = ["method", "input", *(SHORT[name] for name in OFFICIAL_METRICS), "top five", "place", "weight",
                "iterations", "CPU s", "GiB", *(["published NRMSE"] if stage else [])]  # fmt: skip
    lines = [
        [one.method, one.given, *metric_cells(one.scores.values, OFFICIAL_METRICS), str(one.top_five), str(one.place),
         *_costs(one), *([_published(one, stage)] if stage else [])]
        for one in scored
    ]  # fmt: skip
    more = ["method", "input", *(SHORT[name] for name in SIMILARITY_METRICS)]
    further = [[one.method, one.given, *metric_cells(one.scores.values, SIMILARITY_METRICS)] for one in scored]
    return f"**{title}**\n\n{markdown(official, lines)}\n\n{markdown(more, further)}"


def _costs(one: Submission) -> list[str]:
    """Weight, iterations, seconds and memory, of every data set."""
    records = list(one.records.values())

    def each(texts: list[str]) -> str:
        return texts[0] if len(set(texts)) == 1 else ", ".join(texts)

    marks = ["" if record.converged else "*" for record in records]
    return [
        each([f"{record.weight:.2g}" for record in records]),
        each([f"{record.iterations}{mark}" for record, mark in zip(records, marks, strict=True)]),
        each([seconds(record.cpu_s) for record in records]),
        number(max(record.peak_gib or 0.0 for record in records), 2),
    ]


def _published(one: Submission, stage: int) -> str:
    row = published_nrmse(stage, one.solver)
    return "–" if row is None else f"{row.entry} {row.nrmse:g}"


def _one_set_costs(joint: Sequence[Submission], each: Sequence[Submission]) -> str:
    """What one set for both simulations costs against a choice on each."""
    by_name = {(one.method, one.given): one for one in each}
    lines = []
    for one in joint:
        other = by_name.get((one.method, one.given))
        if other is None or not other.scores.values or not one.scores.values:
            continue
        weights = [f"{other.records[name].weight:.2g}" for name in PAIR]
        confidence = [number(other.records[name].choice.get("confidence"), 2) for name in PAIR]
        lines.append([one.method, one.given, *weights, *confidence, number(other.nrmse()), number(one.nrmse())])
    if not lines:
        return ""
    head = ["method", "input", "auto on SIM1", "on SIM2", "confidence", "the same", "NRMSE, each its own", "one set"]
    return "What the one set costs: the weight of either simulation by itself, and the NRMSE with that.\n\n" + markdown(
        head, lines
    )


def _missing(rows: Sequence[Row]) -> str:
    """How many metrics could not be computed, and why."""
    reasons: dict[str, int] = {}
    for row in rows:
        for name in METRICS if not row.record.failed else ():
            if row.record.metrics.get(name) is None:
                reason = row.record.not_computed.get(name, "the data set has no truth")
                reasons[reason] = reasons.get(reason, 0) + 1
    listed = "; ".join(f"{count} times: {reason}" for reason, count in reasons.items())
    return f"Metrics that could not be computed, {listed}." if listed else ""
