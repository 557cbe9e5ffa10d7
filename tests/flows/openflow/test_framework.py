"""Which framework is underneath, and that it has what is used of it."""

from __future__ import annotations

import pytest

from flows.openflow import framework
from flows.openflow.framework import OS_KEN, PARTS, RYU, VARIABLE, chosen


@pytest.mark.parametrize("wanted", [RYU, OS_KEN])
def test_the_framework_that_is_wanted_is_chosen(wanted: str) -> None:
    assert chosen(wanted, ryu_is_there=True) == wanted


def test_ryu_is_chosen_where_it_is_there_and_none_is_wanted() -> None:
    assert chosen("", ryu_is_there=True) == RYU


def test_os_ken_is_chosen_where_ryu_is_not() -> None:
    assert chosen("", ryu_is_there=False) == OS_KEN


def test_what_is_no_framework_is_refused_with_the_variable_that_names_it() -> None:
    with pytest.raises(ImportError, match=f"{VARIABLE} is 'pox'"):
        chosen("pox", ryu_is_there=True)


@pytest.mark.parametrize("name", PARTS)
def test_the_framework_has_every_part(name: str) -> None:
    assert getattr(framework, name) is not None


def test_what_is_no_part_is_no_attribute() -> None:
    assert not hasattr(framework, "wsgi")
