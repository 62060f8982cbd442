"""Exit codes and their order."""

import itertools

import pytest

from difyoff.difypkg.diagnosis import Diagnosis, DifyoffError, Exit, worst


def test_the_exit_codes_stay_what_scripts_know() -> None:
    assert {code.name: code.value for code in Exit} == {
        "DONE": 0,
        "NO": 1,
        "USAGE": 2,
        "NOT_A_PLUGIN": 4,
        "MACHINE": 5,
        "NETWORK": 6,
        "BUG": 70,
        "INTERRUPTED": 130,
    }
    assert len(Exit.__members__) == len(set(Exit))


def test_of_several_codes_the_worst_counts() -> None:
    order = [Exit.BUG, Exit.MACHINE, Exit.NETWORK, Exit.NOT_A_PLUGIN, Exit.NO, Exit.DONE]

    for worse, better in itertools.combinations(order, 2):
        assert worst([better, worse, better]) == worse
    assert worst([]) == Exit.DONE
    assert all(worst([code]) == code for code in Exit)


def test_an_error_has_the_exit_code_of_its_page() -> None:
    error = DifyoffError(Diagnosis(slug="not-a-zip", message="no zip"))

    assert error.exit_code == Exit.NOT_A_PLUGIN
    assert str(error) == "no zip"
    with pytest.raises(KeyError):
        assert DifyoffError(Diagnosis(slug="nothing", message="")).exit_code
