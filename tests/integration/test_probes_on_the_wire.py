"""Probes below TCP between two hosts: network namespaces of this test's own and a cable."""

from __future__ import annotations

import os
import select
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from ipaddress import ip_address

import pytest

from hactrl.engine.events import ProbeChanged
from hactrl.health.targets import ProbeRoute, Target, Targets, decode_report, encode
from hactrl.vocabulary import Verdict

pytestmark = pytest.mark.integration

PATIENCE = 20.0
PROBER_MAC = "02:00:00:00:01:fe"
ROUTES = {
    "ipv4": ProbeRoute(ip_address("192.0.2.241"), ip_address("192.0.2.25")),
    "ipv6": ProbeRoute(ip_address("2001:db8:0:1::f1"), ip_address("2001:db8:0:1::25")),
}
BASE = Target("web", "ping", "one", "A", "icmp", (), 0, 0.1, 1.0, 2, 2, PROBER_MAC)


def ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True)


class Hosts:
    """The prober's host and a server's, by the names of their namespaces."""

    def __init__(self, name: str) -> None:
        self.prober, self.server = f"{name}p", f"{name}s"

    def build(self) -> None:
        ip("netns", "add", self.prober)
        ip("netns", "add", self.server)
        cable = ["type", "veth", "peer", "name", "card", "netns", self.server]
        ip("-n", self.prober, "link", "add", "card", "address", PROBER_MAC, *cable)
        for host, addresses in (
            (self.prober, [route.source for route in ROUTES.values()]),
            (self.server, [route.destination for route in ROUTES.values()]),
        ):
            for address in addresses:
                prefix, *nodad = ("64", "nodad") if address.version == 6 else ("24",)
                ip("-n", host, "address", "add", f"{address}/{prefix}", "dev", "card", *nodad)
            ip("-n", host, "link", "set", "card", "up")

    def remove(self) -> None:
        for host in (self.prober, self.server):
            subprocess.run(["ip", "netns", "del", host], check=False)


@pytest.fixture
def hosts() -> Iterator[Hosts]:
    hosts = Hosts(f"hactrl{os.getpid()}")
    try:
        hosts.build()
        yield hosts
    finally:
        hosts.remove()


@pytest.fixture
def prober(hosts: Hosts) -> Iterator[subprocess.Popen[bytes]]:
    command = ["ip", "netns", "exec", hosts.prober, sys.executable, "-m", "hactrl.health.prober"]
    with subprocess.Popen(
        command, bufsize=0, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        try:
            yield process
        finally:
            assert process.stdin is not None
            process.stdin.close()
            process.wait(PATIENCE)


def changed(prober: subprocess.Popen[bytes]) -> ProbeChanged:
    assert prober.stdout is not None
    deadline = time.monotonic() + PATIENCE
    while select.select([prober.stdout], [], [], deadline - time.monotonic())[0]:
        report = decode_report(prober.stdout.readline())
        if isinstance(report, ProbeChanged):
            return report
    raise TimeoutError("the prober says nothing")


@pytest.mark.parametrize("family", ROUTES)
@pytest.mark.parametrize("kind", ["icmp", "arp"])
def test_a_host_answers_until_its_address_is_gone(
    hosts: Hosts, prober: subprocess.Popen[bytes], kind: str, family: str
) -> None:
    target = replace(BASE, kind=kind, routes=(ROUTES[family],))
    assert prober.stdin is not None
    prober.stdin.write(encode(Targets((target,))))
    assert changed(prober).verdict is Verdict.HEALTHY
    # The address goes and the cable stays, or the prober would rightly blame itself.
    ip("-n", hosts.server, "address", "flush", "dev", "card")
    down = changed(prober)
    assert down.verdict is Verdict.UNHEALTHY
    assert down.reason in {"timeout", "unreachable"}
