"""What Pacemaker and Corosync are told, and what the cluster's report is read as."""

from __future__ import annotations

from typing import cast
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

import pytest

from hactrl.site import load
from mininet_lab.lab import SITE_FILE, Lab
from mininet_lab.mail.description import MailSite
from mininet_lab.peers import faults
from mininet_lab.peers.agents import fence_agent, service_agent
from mininet_lab.peers.cib import cib
from mininet_lab.peers.cluster import picture
from mininet_lab.peers.corosync import corosync_conf
from mininet_lab.peers.servers import own_address
from mininet_lab.peers.tuning import BEST, DEFAULTS, Tuning
from mininet_lab.scenarios.peers import missing_packages

SITE = load(SITE_FILE)
SERVERS = tuple(SITE.network.servers)
NODES = {"one": ("172.16.0.11", "10.0.0.49"), "two": ("172.16.0.12", "10.0.0.50")}


def configured(tuning: Tuning) -> Element:
    return ElementTree.fromstring(cib(SITE, MailSite(), tuning, SERVERS))


def primitives(root: Element, kind: str) -> list[Element]:
    return [p for p in root.iter("primitive") if p.get("type") == kind]


def parameters(primitive: Element) -> dict[str, str]:
    pairs = primitive.iterfind("instance_attributes/nvpair")
    return {pair.get("name", ""): pair.get("value", "") for pair in pairs}


def report(*resources: str, online: str = "true", failures: int = 0) -> str:
    failed = "<failure/>" * failures
    nodes = "".join(
        f'<node name="{name}" online="{online}" unclean="false" pending="false" standby="false"/>'
        for name in ("one", "two")
    )
    return (
        f"<pacemaker-result><nodes>{nodes}</nodes><resources>{''.join(resources)}</resources>"
        f"<failures>{failed}</failures></pacemaker-result>"
    )


def resource(name: str, *places: str, role: str = "Started", failed: str = "false") -> str:
    nodes = "".join(f'<node name="{place}"/>' for place in places)
    return f'<resource id="{name}" role="{role}" failed="{failed}">{nodes}</resource>'


def test_corosyncs_defaults_are_what_it_does_untold() -> None:
    text = corosync_conf(DEFAULTS, NODES, "/log")
    assert "token" not in text
    assert "interface" not in text


def test_every_node_has_an_address_on_every_link() -> None:
    text = corosync_conf(BEST, NODES, "/log")
    for addresses in NODES.values():
        for link, address in enumerate(addresses):
            assert f"ring{link}_addr: {address}\n" in text
    assert text.count("linknumber") == 2


def test_the_last_of_two_stays_quorate_and_need_not_wait_for_the_other() -> None:
    text = corosync_conf(DEFAULTS, NODES, "/log")
    assert "two_node: 1" in text
    assert "wait_for_all: 0" in text


@pytest.mark.parametrize("tuning", [DEFAULTS, BEST])
def test_every_service_address_moves(tuning: Tuning) -> None:
    moved = {parameters(p)["ip"] for p in primitives(configured(tuning), "IPaddr2")}
    wanted = {
        str(address)
        for role in ("smtp_pop", "mailrelay")
        for on_segment in SITE.roles[role].addresses
        for address in on_segment.addresses
    }
    assert moved == wanted


@pytest.mark.parametrize("tuning", [DEFAULTS, BEST])
def test_each_server_can_be_fenced_by_the_power_switch(tuning: Tuning) -> None:
    root = configured(tuning)
    fences = primitives(root, "fence_lab_power")
    assert [parameters(fence)["pcmk_host_list"] for fence in fences] == list(SERVERS)
    options = {p.get("name"): p.get("value") for p in root.iterfind(".//cluster_property_set/*")}
    assert options["stonith-enabled"] == "true"


@pytest.mark.parametrize("tuning", [DEFAULTS, BEST])
def test_no_name_is_given_twice(tuning: Tuning) -> None:
    names = [name for e in configured(tuning).iter() if (name := e.get("id")) is not None]
    # A node's id is a number, and may be another's.
    assert len(names) == len(set(names))


def test_by_default_a_role_is_one_ordered_group_of_debians_agents() -> None:
    root = configured(DEFAULTS)
    (group,) = (g for g in root.iter("group") if g.get("id") == "smtp_pop")
    kinds = [primitive.get("type") for primitive in group.iterfind("primitive")]
    assert kinds == ["Filesystem", *["IPaddr2"] * 4, "anything", "dovecot", "postfix"]
    assert {p.get("provider") for p in root.iter("primitive")} == {None, "heartbeat"}


def test_at_its_best_daemons_wait_for_spool_and_addresses_and_not_for_each_other() -> None:
    orders = [
        (order.get("first"), order.get("then")) for order in configured(BEST).iter("rsc_order")
    ]
    waited_for = {first for first, then in orders if then == "smtp_pop-postfix"}
    addresses = {f"smtp_pop-{segment}-{v}" for segment in ("inner", "outer") for v in (4, 6)}
    assert waited_for == {"spool", *addresses}


def test_at_its_best_a_daemon_is_well_when_it_greets_on_every_address() -> None:
    (dovecot,) = (
        p for p in primitives(configured(BEST), "service") if parameters(p)["daemon"] == "dovecot"
    )
    greetings = parameters(dovecot)["greetings"].split(";")
    assert "10.0.0.25 110 +OK" in greetings
    assert "2001:db8:0:2::25 143 * OK" in greetings
    assert len(greetings) == 4


def test_agents_of_our_own_describe_themselves_as_pacemaker_wants_it() -> None:
    for text, kind in (
        (service_agent(), "resource-agent"),
        (fence_agent(SITE_FILE, SERVERS), "resource-agent"),
    ):
        described = text[text.index("<?xml") : text.index("\nEND\n")]
        without_doctype = "\n".join(x for x in described.splitlines() if "DOCTYPE" not in x)
        assert ElementTree.fromstring(without_doctype).tag == kind


def test_a_resource_is_where_it_runs_well_and_at_one_server_only() -> None:
    seen = picture(
        report(
            resource("well", "one"),
            resource("nowhere", role="Stopped"),
            resource("twice", "one", "two"),
            resource("failed", "two", failed="true"),
            failures=2,
        )
    )
    assert seen.places == {"well": "one", "nowhere": None, "twice": None, "failed": None}
    assert seen.online == {"one", "two"}
    assert seen.failures == 2


def test_what_is_not_in_order_is_named() -> None:
    seen = picture(report(resource("spool", "two"), resource("relay", "one")))
    assert seen.missing({"spool": "two", "relay": "one"}) == []
    assert seen.missing({"spool": "one"}) == ["spool runs at two"]
    gone = picture(report(resource("spool", role="Stopped"), online="false"))
    assert gone.missing({"spool": "one"}) == ["one is not online", "spool does not run"]


def test_servers_have_addresses_of_their_own_in_both_families() -> None:
    assert own_address(1, "10.0.0.0/24") == "10.0.0.50/24"
    assert own_address(0, "2001:db8:0:2::/64") == "2001:db8:0:2::31/64"


def test_processes_that_a_daemon_begins_while_it_is_stopped_are_stopped_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found, stopped = [{1, 2}, {1, 2, 3}, {1, 2, 3}], list[int]()
    monkeypatch.setattr(faults, "_processes", lambda _lab, _programs: found.pop(0))
    monkeypatch.setattr(faults, "send", lambda pids, _number: stopped.extend(pids))
    faults.FAULTS["dovecot"].strike(cast(Lab, None))
    assert sorted(stopped) == [1, 2, 3]


def test_hactrl_alone_needs_no_peer_installed() -> None:
    assert missing_packages(("hactrl",)) == []
