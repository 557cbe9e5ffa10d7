"""Addresses that the file need not give: virtual MACs, and the prober's sources.

The prober has one source address of each family for every card of a segment.
Destination says the role or file server, source says the card (see `topology.model.Prober`), so
cards get theirs in the order of the file, and always the same ones.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from topology.model import Address, Subnet, derived_mac


def virtual_mac(role: str, segment: str) -> str:
    """The virtual MAC of a role on a segment, where the file gives none."""
    return derived_mac(f"role {role} segment {segment}")


def file_server_mac(name: str, segment: str) -> str:
    """The virtual MAC of a file server, where the file gives none."""
    return derived_mac(f"file server {name} segment {segment}")


def families(addresses: Iterable[Address]) -> list[int]:
    """The IP versions among them."""
    return sorted({address.version for address in addresses})


def reserved(network: Subnet) -> tuple[Address, ...]:
    """The addresses of a network that no host has: its own, and the IPv4 broadcast (RFC 919) or
    IPv6's subnet-router anycast address (RFC 4291, section 2.6.1)."""
    if network.num_addresses <= 2:
        return ()
    if network.version == 4:
        return (network.network_address, network.broadcast_address)
    return (network.network_address,)


def assign(
    pools: Iterable[Subnet],
    version: int,
    cards: Sequence[str],
    networks: Iterable[Subnet],
    taken: Collection[Address],
) -> dict[str, Address]:
    """For each card the next address of the pools that is not `taken`.

    Cards for which the pools do not suffice are left out.
    """
    useless = {address for network in networks for address in reserved(network)}
    usable = (
        address
        for pool in pools
        if pool.version == version
        for address in pool
        if address not in taken and address not in useless
    )
    return dict(zip(cards, usable, strict=False))
