"""A real switch is brought to its rules on os-ken, and gives them back to whoever asks."""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
from private_ovs import PrivateOvs
from report_network import NETWORK, PORTS, Situation

from flows.diff import diff
from flows.openflow.framework import OS_KEN, VARIABLE

pytestmark = [
    pytest.mark.integration,
    pytest.mark.timeout(60),
    pytest.mark.skipif(
        find_spec(OS_KEN) is None, reason="os-ken is not installed; the extra `test` brings it"
    ),
]

MANAGER = Path(__file__).parents[1] / "framework_manager.py"
APPLICATION = Path(__file__).with_name("session_application.py")
SWITCH = "o1"


def test_a_session_on_os_ken_brings_a_real_switch_to_its_rules(
    ovs: PrivateOvs, tmp_path: Path
) -> None:
    with (tmp_path / "controller.log").open("w") as log:
        controller = ovs.start(
            *("env", f"{VARIABLE}={OS_KEN}", sys.executable, str(MANAGER)),
            *("127.0.0.1", "6653", str(APPLICATION)),
            stdout=subprocess.PIPE,
            stderr=log,
        )
    switch = ovs.add_bridge(
        SWITCH, NETWORK.switches[SWITCH].datapath_id, sorted(PORTS[SWITCH]), "tcp:127.0.0.1:6653"
    )
    assert controller.stdout is not None
    said = controller.stdout.readline()
    assert said == "os_ken: installed\n", (tmp_path / "controller.log").read_text()
    with switch.connect() as channel:
        assert diff(channel.read_back(), Situation().compiled()[SWITCH]) == ()
