"""Train the learned inversion: ``python -m qsm_recon.learn train --cache DIR --out DIR``."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from qsm_recon.commands.line import EXIT_DONE, CommandParser, add_version_option, run_command

HEADS, HELD_OUT = tuple(range(101, 115)), (201, 202)
"""Seeds of the heads that the package's weights were trained on, and judged by on the way."""


def build_parser() -> argparse.ArgumentParser:
    """Describe the command line."""
    parser = CommandParser(
        prog="python -m qsm_recon.learn",
        description="Train the network of qsminvnet and fine on heads of the embedded phantom. Needs the extra "
        "qsm_recon[torch].",
    )
    add_version_option(parser)
    commands = parser.add_subparsers(dest="command", required=True, metavar="{train,show}", parser_class=CommandParser)
    train = commands.add_parser(
        "train", help="train, or go on from the checkpoint in --out",
        description="Train the network; the same command goes on where it was stopped. The weights so far, their "
        "errors on held-out heads and a checkpoint are written on the way.",
    )  # fmt: skip
    train.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder of checkpoint and weights")
    train.add_argument(
        "--cache", type=Path, required=True, metavar="DIR",
        help="folder of the heads: 45 MB each and 130 MB of examples, made in about two minutes each where missing",
    )  # fmt: skip
    train.add_argument("--heads", type=int, nargs="+", default=HEADS, metavar="SEED", help="heads to train on")
    train.add_argument("--held-out", type=int, nargs="*", default=HELD_OUT, metavar="SEED", help="heads to judge by")
    train.add_argument("--size", choices=("full", "reduced"), default="full", help="of the heads: 1 mm or 2 mm")
    train.add_argument("--steps", type=int, default=20000, help="in all (default %(default)s)")
    train.add_argument("--seed", type=int, default=0, help="of the first weights and all that is drawn")
    train.add_argument("--patch", type=int, default=64, metavar="VOXELS", help="edge of the patches (%(default)s)")
    train.add_argument("--batch", type=int, default=1, help="patches in a step")
    train.add_argument("--rate", type=float, default=0.005, help="size of a step (default %(default)s)")
    train.add_argument("--check-every", type=int, default=250, metavar="STEPS", help="steps between checkpoints")
    train.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto", help="auto: a GPU if there is one")
    train.add_argument("--precision", choices=("auto", "single", "bfloat16"), default="auto", help="of convolutions")
    train.add_argument("--threads", type=int, metavar="N", help="all cores by default")
    show = commands.add_parser("show", help="say what is known of weights", description="Say what is known of weights.")
    show.add_argument("file", type=Path, nargs="?", help="safetensors; by default those that come with the package")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    options = build_parser().parse_args(arguments)
    program = _train if options.command == "train" else _show
    return run_command(lambda: program(options), interrupted="interrupted; the last checkpoint is kept")


def _train(options: argparse.Namespace) -> int:
    from qsm_recon.backend.threads import set_thread_count
    from qsm_recon.learned.training import WEIGHTS, Training, train
    from qsm_recon.learned.weights import require_torch
    from qsm_recon.solvers.learned import first_map_of

    require_torch()
    if options.threads is not None:
        set_thread_count(options.threads)
    training = Training(
        heads=tuple(options.heads),
        held_out=tuple(options.held_out),
        steps=options.steps,
        seed=options.seed,
        patch=options.patch,
        batch=options.batch,
        rate=options.rate,
        size=options.size,
        check_every=options.check_every,
    )
    train(
        training, options.cache, options.out, first_map_of, device=options.device, precision=options.precision,
        tell=lambda line: print(line, flush=True),
    )  # fmt: skip
    print(f"the weights are in {options.out / WEIGHTS}; QSM_RECON_WEIGHTS=FILE makes qsminvnet and fine take them")
    return EXIT_DONE


def _show(options: argparse.Namespace) -> int:
    from qsm_recon.learned.weights import chosen_weights, load_weights

    path = options.file or chosen_weights()
    weights, facts = load_weights(path)
    print(f"{path.name}: {sum(value.numel() for value in weights.values())} weights, {path.stat().st_size} bytes")
    for name, value in sorted(facts.items()):
        print(f"{name:>20}: {value}")
    return EXIT_DONE
