"""The public interface of the package, imported as its users do."""

import subprocess
import sys

import pytest

import tintlab
from tintlab.inference.colorizer import Colorizer
from tintlab.registry.models import load_colorizer


def test_public_names_are_those_of_the_rooms() -> None:
    assert tintlab.Colorizer is Colorizer
    assert tintlab.load_colorizer is load_colorizer
    assert set(tintlab.__all__) <= set(dir(tintlab))
    with pytest.raises(AttributeError, match="no attribute 'registrar'"):
        tintlab.registrar  # noqa: B018


def test_importing_the_package_imports_nothing_heavy() -> None:
    heavy = ("tintlab.", "torch", "numpy", "mlflow")
    code = f"import sys, tintlab; print([name for name in sys.modules if name.startswith({heavy})])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_code_of_earlier_registered_models_says_what_to_do() -> None:
    with pytest.raises(
        ImportError, match=r"register it again: `tintlab register --model models:/NAME/VERSION`"
    ):
        exec("from tintlab import codes")
