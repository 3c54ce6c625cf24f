"""What every command says of its version."""

import importlib

import pytest

from qsm_recon.phantom import PHANTOM_VERSION
from qsm_recon.version import __version__


@pytest.mark.parametrize(
    ("command", "more"),
    [
        ("run", ""),
        ("evaluate", ""),
        ("lcurve", ""),
        ("phantom.__main__", f" (phantom version {PHANTOM_VERSION})"),
        ("cohort.command", ""),
        ("adapters.qsmci", ""),
    ],
)
def test_every_command_says_the_packages_version(command, more, capsys):
    with pytest.raises(SystemExit) as stopped:
        importlib.import_module(f"qsm_recon.{command}").main(["--version"])
    assert stopped.value.code == 0
    assert capsys.readouterr().out == f"qsm_recon {__version__}{more}\n"
