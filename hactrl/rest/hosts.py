"""The names under which this controller may be asked for.

A web page can have its own name resolve to a controller's address, and then read there as if it
came from it (DNS rebinding). The browser tells the name that it asked for in the header Host.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from ipaddress import IPv6Address, ip_address

_HOST = re.compile(r"(?:\[([^\[\]]*)\]|([^:\[\]]*))(?::\d*)?")


def own_names(configured: Iterable[str], hostname: str, hosts_file: str) -> frozenset[str]:
    """Those of the site file, `localhost`, and this machine's: `hostname`, its first part, and what
    `hosts_file` (the text of /etc/hosts) has beside it. No name server is asked: it may be what is
    out of order."""
    names = {"localhost", "127.0.0.1", "::1", *configured, hostname, hostname.partition(".")[0]}
    for line in hosts_file.splitlines():
        words = line.partition("#")[0].split()
        if hostname in words[1:]:
            names.update(words[1:])
    return frozenset(_plain(name) for name in names if name)


def is_own(host: str, names: frozenset[str], arrived_at: str) -> bool:
    """Is a header Host one of these names, or the address at which the request has arrived? Its
    port does not matter: a proxy in front may have another one."""
    found = _HOST.fullmatch(host.strip())
    if found is None:
        return False
    name = _plain(found[1] or found[2] or "")
    return name in names or name == _plain(arrived_at)


def _plain(name: str) -> str:
    """One way of writing for a name or an address that can be written in several."""
    try:
        address = ip_address(name)
    except ValueError:
        return name.lower().removesuffix(".")
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return str(mapped or address)
