"""Declared parameters: ranges, text, errors."""

import pytest

from qsm_recon.errors import ParameterError
from qsm_recon.solvers.registry import make_solver
from qsm_recon.solvers.total_variation import LinearTV

DECLARED = LinearTV.declared()


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("regularisation_weight", "1e-3", 1e-3),
        ("max_iterations", "7", 7),
        ("balance", "True", True),
        ("balance", "off", False),
        ("kernel", "green", "green"),
        ("gradient_penalty", "auto", None),
        ("gradient_penalty", "0.5", 0.5),
    ],
)
def test_reads_text(name, text, value):
    found = DECLARED[name].parse(text)
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("name", "text"), [("regularisation_weight", "much"), ("max_iterations", "1.5"), ("balance", "perhaps")]
)
def test_refuses_text_of_another_type(name, text):
    with pytest.raises(ParameterError, match=f"{name}: expected a.*found '{text}'|{name}: expected true or false"):
        DECLARED[name].parse(text)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"relaxation": 2.5}, r"relaxation: 2.5 is out of range; expected 1 … 1.99"),
        ({"regularisation_weight": -1.0}, "regularisation_weight: -1 is out of range"),
        ({"regularisation_weight": float("nan")}, "regularisation_weight: nan is out of range"),
        ({"max_iterations": 2.0}, "max_iterations: expected a int, found 2.0"),
        ({"max_iterations": True}, "max_iterations: expected a int, found True"),
        ({"balance": 1}, "balance: expected a bool, found 1"),
        ({"kernel": "gren"}, "kernel: 'gren' is not accepted; did you mean 'green'"),
        ({"regularisation_wait": 1.0}, "no parameter 'regularisation_wait'; did you mean 'regularisation_weight'"),
    ],
)
def test_says_what_is_wrong(values, message):
    with pytest.raises(ParameterError, match=message):
        make_solver("tv", **values)


def test_whole_numbers_are_accepted_where_any_number_is():
    assert make_solver("tv", regularisation_weight=1).regularisation_weight == 1


def test_ranges_in_words():
    assert DECLARED["relaxation"].describe_range() == "1 … 1.99"
    assert DECLARED["kernel"].describe_range() == "continuous | discrete | green"
    assert DECLARED["balance"].describe_range() == "true | false"
