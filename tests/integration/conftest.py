"""Fixtures of the integration tests. `private_ovs` says how the private Open vSwitch works."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from private_ovs import PrivateOvs


@pytest.fixture(scope="module")
def ovs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrivateOvs]:
    """A private Open vSwitch for the module; add bridges, they end with it."""
    with PrivateOvs(tmp_path_factory.mktemp("ovs")) as instance:
        yield instance
