"""`ryu-manager hactrl` on the switches of the report's network, without any server.

What a switch is told counts by the switch's own log of the messages that it received.
"""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Set
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from private_ovs import Bridge, PrivateOvs, wait_until
from ryu.ofproto.ofproto_v1_3 import OFPCR_ROLE_MASTER
from ryu.ofproto.ofproto_v1_3_parser import OFPRoleReply, OFPRoleRequest

from hactrl.site import load

# Seconds on an idle machine; a starting controller reads five switches back, which a busy one
# takes its time for.
pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]

EXAMPLE = Path(__file__).parents[2] / "examples" / "frontier.yaml"
PROGRAMS = Path(sys.executable).parent
IMPOSTOR = Path(__file__).with_name("impostor_switch.py")

LEARNT = "cookie=0x4ac700ff"
CHANGES = re.compile(r"received: OFPT_(?:FLOW|GROUP|METER)_MOD")


@dataclass
class Plant:
    """The switches, and a controller that can be started and killed."""

    ovs: PrivateOvs
    site_file: Path
    switches: list[str]
    log: Path
    controllers: list[subprocess.Popen[str]] = field(default_factory=list)

    def start_controller(self, expected: Set[str] = frozenset()) -> None:
        """Start, and wait until it has looked round, and these switches (none named: all) have
        confirmed their rules: on an empty switch it installs provisional ones before."""
        output = (self.log.parent / "controller.log").open("a")
        program = str(PROGRAMS / "ryu-manager")
        words = (program, "hactrl", "--hactrl-site", str(self.site_file))
        self.controllers.append(self.ovs.start(*words, stdout=output, stderr=output))
        expected = expected or set(self.switches)
        wait_until(
            lambda: not self.is_looking_round() and self.is_current(expected),
            "switches to confirm their rules",
            150.0,
        )

    def kill_controller(self) -> None:
        self.ovs.run("pkill", "--signal", "KILL", "--full", "ryu-manager hactrl")
        self.controllers.pop().wait(timeout=10.0)
        wait_until(lambda: not any(self._connected()), "the switches to notice")

    def changes(self) -> list[str]:
        return [line for line in self.log.read_text().splitlines() if CHANGES.search(line)]

    def flows(self, switch: str) -> set[str]:
        """Without what the switch has learnt by itself."""
        words = ("ovs-ofctl", "-O", "OpenFlow13", "--no-stats", "dump-flows", switch)
        lines = (line.strip() for line in self.ovs.run(*words).splitlines())
        return {line for line in lines if "actions=" in line and not line.startswith(LEARNT)}

    def _connected(self) -> list[bool]:
        lines = self.ovs.run("ovs-vsctl", "--bare", "--columns=is_connected", "list", "controller")
        return [line == "true" for line in lines.split()]

    def status(self) -> dict[str, Any]:
        """Of the switches, by name; empty if the controller does not answer."""
        switches: dict[str, Any] = self._whole_status().get("switches", {})
        return switches

    def is_looking_round(self) -> bool:
        """Whether the controller does not answer yet, or changes no switch that is set up."""
        return "looking_round" in json.dumps(self._whole_status() or "looking_round")

    def _whole_status(self) -> dict[str, Any]:
        command = ("curl", "--silent", "--max-time", "2", "http://127.0.0.1:8080/v1/status")
        answer = self.ovs.run(*command, check=False)
        found: dict[str, Any] = json.loads(answer) if answer else {}
        return found

    def is_current(self, expected: Set[str]) -> bool:
        current = {
            name for name, s in self.status().items() if s["connected"] and s["rules_current"]
        }
        return current >= expected

    def controller_log(self) -> str:
        return (self.log.parent / "controller.log").read_text()

    def connect_impostor(self, datapath_id: int) -> str:
        """Something else connects with a switch's datapath id: `taken` for it, or `refused`."""
        return self.ovs.run(sys.executable, str(IMPOSTOR), str(datapath_id)).strip()

    def journal(self, kind: str) -> list[dict[str, Any]]:
        """The details of entries of this kind, the newest first."""
        answer = self.ovs.run("curl", "--silent", "http://127.0.0.1:8080/v1/history?limit=1000")
        entries = json.loads(answer)["entries"]
        return [entry["details"] for entry in entries if entry["kind"] == kind]


@pytest.fixture(scope="module")
def plant(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Plant]:
    directory = tmp_path_factory.mktemp("plant")
    site_file = directory / "site.yaml"
    # Nobody answers a probe here, and a starting controller waits for the slowest.
    text = EXAMPLE.read_text().replace("/run/hactrl", str(directory))
    site_file.write_text(f"{text}timers: {{probe_interval: 500ms, probe_timeout: 200ms}}\n")
    (directory / "agent-tokens").write_text("mailrelay: one\nsmtp_pop: two\n")
    (directory / "agent-tokens").chmod(0o600)
    site = load(site_file)
    with PrivateOvs(directory) as ovs:
        ovs.run("ip", "address", "add", "172.16.0.1/24", "dev", "lo")
        ovs.run("ovs-appctl", "vlog/set", "vconn:file:dbg")
        ovs.run("ovs-appctl", "vlog/disable-rate-limit", "vconn")
        for switch in site.network.switches.values():
            ends = {end for link in site.network.links for end in (link.a, link.b)}
            ends |= {card.attachment for card in site.network.interfaces.values()}
            ends |= {s.prober.attachment for s in site.network.segments.values() if s.prober}
            ports = sorted(end.port for end in ends if end.switch == switch.name)
            ovs.add_bridge(switch.name, switch.datapath_id, ports, "tcp:127.0.0.1:6653")
            ovs.run("ovs-vsctl", "set", "controller", switch.name, "max_backoff=1000")
        plant = Plant(ovs, site_file, list(site.network.switches), directory / "ovs-vswitchd.log")
        plant.start_controller()
        yield plant


def test_a_controller_that_starts_again_changes_nothing_on_switches_that_are_right(
    plant: Plant,
) -> None:
    plant.kill_controller()
    before = {switch: plant.flows(switch) for switch in plant.switches}
    told = len(plant.changes())
    plant.start_controller()
    assert plant.changes()[told:] == []
    assert {switch: plant.flows(switch) for switch in plant.switches} == before
    assert all(before.values())


def test_a_rule_deleted_by_hand_comes_back_and_it_alone_is_sent(plant: Plant) -> None:
    before = plant.flows("i1")
    victim = next(flow for flow in sorted(before) if "priority=300" in flow and "table=6" in flow)
    key = re.sub(r"cookie=\S+ |\S+_counts ", "", victim.split(" actions=")[0]).replace(" ", "")
    told = len(plant.changes())
    words = ("ovs-ofctl", "-O", "OpenFlow13", "--strict", "del-flows", "i1", key)
    plant.ovs.run(*words)
    assert plant.flows("i1") == before - {victim}
    wait_until(lambda: plant.flows("i1") == before, "the rule to come back", timeout=60.0)
    by_hand, *by_controller = plant.changes()[told:]
    assert "DEL_STRICT" in by_hand
    assert len(by_controller) == 1
    assert plant.journal("rules.restored")[0] == {"switch": "i1", "count": 1}


def test_a_foreign_rule_is_left_alone(plant: Plant) -> None:
    flow = "table=0,priority=1,cookie=0x1234,in_port=77,actions=drop"
    plant.ovs.run("ovs-ofctl", "-O", "OpenFlow13", "add-flow", "i3", flow)
    plant.kill_controller()
    plant.start_controller()
    assert any("cookie=0x1234" in line for line in plant.flows("i3"))


def test_a_controller_that_is_asked_to_end_does(plant: Plant) -> None:
    controller = plant.controllers[-1]
    plant.ovs.run("pkill", "--signal", "TERM", "--full", "ryu-manager hactrl")
    assert controller.wait(timeout=10.0) in (-signal.SIGTERM, 128 + signal.SIGTERM)
    plant.start_controller()


@pytest.mark.reported("C4")
def test_a_switch_stays_when_an_impostor_comes_with_its_datapath_id(plant: Plant) -> None:
    lost, told = plant.journal("switch.lost"), len(plant.changes())
    assert plant.connect_impostor(0x23) == "refused"
    assert plant.journal("switch.refused")[0]["switch"] == "i3"
    assert plant.is_current({"i3"})
    assert plant.journal("switch.lost") == lost
    assert plant.changes()[told:] == []


@pytest.mark.reported("C4")
def test_a_switch_whose_connection_has_died_unseen_is_back_at_once(plant: Plant) -> None:
    """Its old connection stays open and silent: its switch is stopped, and another one comes."""
    daemon = (plant.ovs.directory / "ovs-vswitchd.pid").read_text().strip()
    plant.ovs.run("kill", "-STOP", daemon)
    try:
        # Held off for a second, if it comes from where one was refused just now.
        wait_until(lambda: plant.connect_impostor(0x23) == "taken", "it to be let in", 60.0)
    finally:
        plant.ovs.run("kill", "-CONT", daemon)
    wait_until(lambda: plant.is_current(set(plant.switches)), "all to be back", timeout=60.0)


def test_a_switch_that_knows_a_newer_controller_is_not_touched(plant: Plant) -> None:
    """Open vSwitch lets a controller that it refuses as master write all the same."""
    bridge = Bridge(plant.ovs, "i1")
    plant.kill_controller()
    bridge.ofctl("del-flows")
    with bridge.connect() as channel:
        newer = OFPRoleRequest(channel.datapath, OFPCR_ROLE_MASTER, 1 << 62)
        (answer,) = channel.barrier(newer)
        assert isinstance(answer, OFPRoleReply)
    told = len(plant.changes())
    plant.start_controller({"o1", "o2", "i2", "i3"})
    wait_until(lambda: "i1 refuses generation id" in plant.controller_log(), "the refusal", 60.0)
    assert not plant.status()["i1"]["connected"]
    assert plant.changes()[told:] == []
