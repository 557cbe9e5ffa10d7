"""What the MACs of a backbone are made of, and who may not have one like them.

`flows.backbone.locators` makes them; this is what those who only read or refuse MACs need too.
"""

from __future__ import annotations

#: The first octet of every locator.
LOCATOR = 0x0A

#: Of the first octet: the packet is on a detour.
DETOUR = 0x04

#: This number of a switch is never given: `ASKER_MAC` has it.
RESERVED_SWITCH = 0xFFFF

#: The controller asks hosts with this MAC as source: they answer to it, and an edge switch sends
#: what is for it to the controller.
ASKER_MAC = f"{LOCATOR:02x}:ff:ff:ff:ff:fe"

#: Hosts have the lower half of a switch's 24-bit numbers; the upper is for servers' interfaces.
HOST_NUMBERS = 1 << 23


def is_locator(mac: str) -> bool:
    """Also one that is marked as on a detour."""
    return first_octet(mac) & ~DETOUR == LOCATOR


def is_marked(mac: str) -> bool:
    """As on a detour."""
    return bool(first_octet(mac) & DETOUR)


def first_octet(mac: str) -> int:
    return int(mac[:2], 16)
