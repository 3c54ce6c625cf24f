"""What every command says of its version."""

import importlib

import pytest

from qsm_recon.__main__ import COMMANDS, MODULES
from qsm_recon.phantom import PHANTOM_VERSION
from qsm_recon.version import __version__

MORE = {"phantom": f" (phantom version {PHANTOM_VERSION})"}


@pytest.mark.parametrize("module", [*(MODULES.get(name, name) for name in COMMANDS), "__main__", "adapters.qsmci"])
def test_every_command_says_the_packages_version(module, capsys):
    with pytest.raises(SystemExit) as stopped:
        importlib.import_module(f"qsm_recon.{module}").main(["--version"])
    assert stopped.value.code == 0
    assert capsys.readouterr().out == f"qsm_recon {__version__}{MORE.get(module.partition('.')[0], '')}\n"
