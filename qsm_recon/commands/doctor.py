"""Find out whether all is well here: ``python -m qsm_recon.doctor``.

Says versions, threads, memory and cache, and reconstructs a scan whose answer is known; what it prints is what a bug
report needs.  Exit code 0: all is well (notes say what could be faster or larger); 1: something is wrong; 2: bad usage;
130: interrupted.
"""

from __future__ import annotations

import argparse
import textwrap
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from qsm_recon.commands.line import EXIT_DONE, CommandParser, add_version_option, run_command

EXIT_WRONG = 1
LINE = 120
MARKS = {"ok": "ok", "note": "note", "wrong": "WRONG"}


def build_parser() -> argparse.ArgumentParser:
    """Describe the command line."""
    parser = CommandParser(
        prog="python -m qsm_recon.doctor",
        description="Check this installation, by a reconstruction whose answer is known among others, and say what a "
        "bug report needs.",
    )
    parser.add_argument("--json", action="store_true", help="print JSON on standard output, and nothing else")
    parser.add_argument(
        "--clear-cache",
        action="store_true",
        help="remove the phantoms, kernels and FFT wisdom that are kept, and do nothing else",
    )
    add_version_option(parser)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    options = build_parser().parse_args(arguments)
    work = _clear if options.clear_cache else _examine
    return run_command(lambda: work(as_json=options.json), quiet=True)


def _clear(*, as_json: bool) -> int:
    from qsm_recon.backend.cache_folder import cache_root
    from qsm_recon.backend.cache_upkeep import clear_cache
    from qsm_recon.checkup.machine import shortened

    removed, left = clear_cache()
    size = sum(entry.size_bytes for entry in removed)
    place = shortened(str(cache_root()))
    if as_json:
        names = [shortened(str(entry.path)) for entry in left]
        _print_json({"place": place, "removed": len(removed), "removed_bytes": size, "left": names})
    else:
        print(f"{place}: {len(removed)} entries of {size / 1e9:.3g} GB removed")
        for entry in left:
            print(f"{shortened(str(entry.path))}: cannot be removed; whose is it, and may its folder be written?")
    return EXIT_WRONG if left else EXIT_DONE


def _examine(*, as_json: bool) -> int:
    from qsm_recon.checkup.checks import run_checks
    from qsm_recon.checkup.machine import machine_facts, without_home

    facts = machine_facts()
    if not as_json:
        print(_describe(without_home(facts)), flush=True)
    findings = []
    for finding in run_checks(facts):
        findings.append(without_home(asdict(finding)))
        if not as_json:
            print(_line(findings[-1]), flush=True)
    wrong = [finding["name"] for finding in findings if finding["verdict"] == "wrong"]
    if as_json:
        _print_json({"well": not wrong, **without_home(facts), "checks": findings})
    else:
        print(_closing(wrong, findings))
    return EXIT_WRONG if wrong else EXIT_DONE


def _describe(facts: dict[str, Any]) -> str:
    """The facts, a line each."""
    software, threads, cache = dict(facts["software"]), facts["threads"], facts["cache"]
    ours = f"{software.pop('qsm_recon')} in {software.pop('package')}"
    python = f"{software.pop('python')}, {software.pop('executable')}"
    system = f"{software.pop('system')}, {software.pop('processor')}"
    set_by = "".join(f", {name}={value}" for name, value in threads["set"].items())
    load = "" if threads["load"] is None else f", load {threads['load']:.1f}"
    held = [f"{kind} {part['count']} of {part['bytes'] / 1e6:.1f} MB" for kind, part in cache["held"].items()]
    elsewhere = "" if cache["kernels_elsewhere"] is None else f"; kernels in {cache['kernels_elsewhere']}"
    rows = {
        "qsm_recon": ours,
        "Python": python,
        "system": system,
        "packages": ", ".join(f"{name} {number}" for name, number in software.items()),
        "transforms by": facts["fourier_transforms"],
        "threads": f"{threads['used']} of {threads['cores']} cores{load}{set_by}",
        "memory": "{available:.1f} GiB available of {total:.1f} GiB".format(**facts["memory_gib"]),
        "cache": f"{cache['place']}{elsewhere}: {', '.join(held)}; at most {cache['limit_gb']:g} GB",
    }
    return "\n".join(_wrapped(f"{name:<15}", text) for name, text in rows.items()) + "\n"


def _line(finding: dict[str, Any]) -> str:
    return _wrapped(f"{MARKS[finding['verdict']]:<7}", f"{finding['name']}: {finding['text']}")


def _closing(wrong: list[str], findings: list[dict[str, Any]]) -> str:
    traces = "".join(f"\n{finding['name']}\n{finding['trace']}" for finding in findings if finding["trace"])
    verdict = f"something is wrong: {', '.join(wrong)}" if wrong else "all is well"
    return (
        f"{traces}\n{verdict}\n"
        "For a bug report paste all of this, the command that went wrong with what it printed, and report.json if\n"
        "there is one; look through it for names that are nobody's business."
    )


def _wrapped(head: str, text: str) -> str:
    indent = " " * len(head)
    return textwrap.fill(head + text, LINE, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)


def _print_json(content: dict[str, Any]) -> None:
    import json

    from qsm_recon.io import plain

    print(json.dumps(plain(content), indent=2, allow_nan=False))
