"""A host comes: it gets its address by DHCP, or finds out whether the one it wants is free."""

from __future__ import annotations

import json
import time
from ipaddress import ip_interface
from pathlib import Path

from mininet_lab import dhcp
from mininet_lab.campus import Campus
from mininet_lab.fetching import fetch
from mininet_lab.hosts import cast
from mininet_lab.lab import StageError
from mininet_lab.report import Story
from topology.model import Address

#: Ways in which a DHCP server may answer: to the client's MAC, or, if it asks for that, to all.
ANSWERS = {"unicast": (), "broadcast": ("-B",)}

#: Seconds for duplicate address detection: 1 s of listening, after up to 1 s of waiting.
_PATIENCE = 10.0

#: What the newcomer would like to have.
_FREE = (ip_interface("10.20.1.203/16"), ip_interface("2001:db8:20::1:203/64"))


def by_dhcp(campus: Campus, directory: Path, digest: str, story: Story) -> None:
    """The laptop gets its address from a server at another switch, keeps it, and fetches a file.
    `digest` is the file's."""
    laptop, server = cast.node(campus, cast.LAPTOP), cast.node(campus, cast.DHCP)
    with dhcp.serving(server, cast.POOL, directory / "dhcp"):
        for answers, options in ANSWERS.items():
            begun = time.monotonic()
            with dhcp.leasing(laptop, directory / f"lease-{answers}", *options) as client:
                seconds, address = time.monotonic() - begun, client.await_address()
                story.expect(
                    address in cast.POOL,
                    f"{cast.LAPTOP.name} at {cast.LAPTOP.attachment} has {address} of the DHCP"
                    f" server at {cast.DHCP.attachment}, by {answers}, after {seconds:.1f} s",
                )
                fetched = fetch(laptop, str(cast.SERVICE[0]), "file", directory / "by-dhcp")
                story.expect(fetched == digest, f"with {address} it fetches a file")
                client.renew()
                story.expect(client.address() == address, f"it renews its lease of {address}")


def detecting_duplicates(campus: Campus, story: Story) -> None:
    """The newcomer tries addresses: a free one, those of a host that has never said anything and
    of one that has, and the file server's."""
    _, free = _FREE
    verdict = configured(campus, free.ip)
    story.expect(verdict == "valid", f"IPv6: {free.ip} is free, and its own", verdict)
    cast.reach(campus, cast.NEWCOMER, cast.addresses(cast.PEER)[1], cast.SERVICE[1])
    taken = {
        "a host that has been silent": cast.addresses(cast.SILENT),
        "a host that is known": cast.addresses(cast.PEER),
        "the file server": cast.SERVICE,
    }
    for whose, (_, address) in taken.items():
        verdict = configured(campus, address)
        story.expect(
            verdict == "dadfailed", f"IPv6: {address} of {whose} is refused (dadfailed)", verdict
        )
    address = _FREE[0].ip
    story.expect(is_free(campus, address), f"IPv4: {address} is free")
    for whose, (address, _) in taken.items():
        story.expect(not is_free(campus, address), f"IPv4: {address} of {whose} is taken")


def configured(campus: Campus, address: Address) -> str:
    """What becomes of an IPv6 address that the newcomer configures: `valid`, or `dadfailed`, and
    then it is taken away again.

    Raises:
        StageError: nothing.
    """
    newcomer, name = cast.node(campus, cast.NEWCOMER), cast.NEWCOMER.name
    newcomer.run("sysctl", "-qw", f"net.ipv6.conf.{name}.accept_dad=1")
    newcomer.run("ip", "address", "add", f"{address}/64", "dev", name)
    deadline = time.monotonic() + _PATIENCE
    while time.monotonic() < deadline:
        answer = newcomer.run("ip", "-json", "-6", "address", "show", "dev", name)
        entries = (entry for link in json.loads(answer) for entry in link.get("addr_info", ()))
        (found,) = (entry for entry in entries if entry["local"] == f"{address}")
        if found.get("dadfailed"):
            newcomer.run("ip", "address", "delete", f"{address}/64", "dev", name)
            return "dadfailed"
        if not found.get("tentative"):
            return "valid"
        time.sleep(0.05)
    raise StageError(f"{address} is tentative after {_PATIENCE:.0f} s")


def is_free(campus: Campus, address: Address) -> bool:
    """Whether nobody answers the newcomer's ARP probes (RFC 5227)."""
    words = ("busybox", "arping", "-D", "-c", "2", "-w", "2", "-I", cast.NEWCOMER.name)
    try:
        cast.node(campus, cast.NEWCOMER).run(*words, f"{address}")
    except RuntimeError as error:
        if "exit 1:" in str(error):
            return False
        raise
    return True
