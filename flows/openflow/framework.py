"""Which OpenFlow framework is underneath: Ryu, or os-ken, which goes on with Ryu's code.

The one place that imports either. What is used of them is in `PARTS`, under the same names in both.
os-ken has neither a manager nor WSGI, so hactrl's shell, which needs both, needs Ryu.
"""

from __future__ import annotations

import os
from importlib import import_module
from importlib.util import find_spec
from typing import Any, Final

VARIABLE: Final = "HACTRL_FRAMEWORK"
"""The environment variable that names the framework, where both are installed."""

RYU: Final = "ryu"
OS_KEN: Final = "os_ken"


def chosen(wanted: str, *, ryu_is_there: bool) -> str:
    """The name of the framework's package: the wanted one; if that is empty, Ryu where it is there.

    Raises:
        ImportError: what is wanted is neither of the two.
    """
    if wanted not in ("", RYU, OS_KEN):
        raise ImportError(f"{VARIABLE} is {wanted!r}; it may be {RYU} or {OS_KEN}")
    return wanted or (RYU if ryu_is_there else OS_KEN)


NAME: Final = chosen(os.environ.get(VARIABLE, ""), ryu_is_there=find_spec(RYU) is not None)

if NAME == OS_KEN:
    # Its own choice is threads, which neither `connection` nor hactrl runs on.
    os.environ["OSKEN_HUB_TYPE"] = "eventlet"


PARTS: Final = {
    # the codec
    "nicira_ext": "ofproto.nicira_ext",
    "ofproto": "ofproto.ofproto_v1_3",
    "ofproto_parser": "ofproto.ofproto_parser",
    "oxm_fields": "ofproto.oxm_fields",
    "parser": "ofproto.ofproto_v1_3_parser",
    "ProtocolDesc": "ofproto.ofproto_protocol:ProtocolDesc",
    "type_desc": "lib.type_desc",
    # a controller, whose parts bring the hub with them
    "Application": f"base.app_manager:{'RyuApp' if NAME == RYU else 'OSKenApp'}",
    "app_manager": "base.app_manager",
    "cfg": "cfg",
    "controller": "controller.controller",
    "CONFIG_DISPATCHER": "controller.handler:CONFIG_DISPATCHER",
    "DEAD_DISPATCHER": "controller.handler:DEAD_DISPATCHER",
    "EventBase": "controller.event:EventBase",
    "hub": "lib.hub",
    "MAIN_DISPATCHER": "controller.handler:MAIN_DISPATCHER",
    "ofp_event": "controller.ofp_event",
    "set_ev_cls": "controller.handler:set_ev_cls",
}
"""Where a name is found in the framework: a module, or what comes after the colon in one. Each is
imported when it is asked for, so that who only reads and writes messages has no hub."""


def __getattr__(name: str) -> Any:
    if name not in PARTS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    place, _, inside = PARTS[name].partition(":")
    if name == "controller":
        # It and the manager of applications import each other; in os-ken this one must be first.
        import_module(f"{NAME}.{PARTS['app_manager']}")
    module = import_module(f"{NAME}.{place}")
    return getattr(module, inside) if inside else module
