"""Who may reach whom, as written in `from` and `to`."""

from __future__ import annotations

#: The word for everybody but servers.
ANYONE = "anyone"


def is_network(name: str) -> bool:
    """Names of roles hold neither of these, and every network or address holds one."""
    return "/" in name or ":" in name or name.replace(".", "").isdigit()
