"""One OpenFlow connection as a session sees it: changes out, readings back.

Knows Ryu's datapath only by the methods it calls; messages are made and read by
`flows.openflow`.
"""

from __future__ import annotations

from typing import Any

from flows.diff import Change
from flows.openflow import Reading, messages
from flows.rules import RuleSet


class DatapathWire:
    """Implements `hactrl.switches.Wire`."""

    def __init__(self, datapath: Any) -> None:
        self.datapath = datapath
        self._number = 0
        self._reading: Reading | None = None

    def take_master_role(self, generation_id: int) -> None:
        """Become the switch's master; it refuses a controller with an older generation id
        (OpenFlow 1.3.5, section 6.3.7)."""
        parser, master = self.datapath.ofproto_parser, self.datapath.ofproto.OFPCR_ROLE_MASTER
        self._send(parser.OFPRoleRequest(self.datapath, master, generation_id))

    def send(self, change: Change) -> list[int]:
        return [self._send(message) for message in messages(self.datapath, change)]

    def barrier(self) -> int:
        return self._send(self.datapath.ofproto_parser.OFPBarrierRequest(self.datapath))

    def read(self) -> int:
        self._number += 1
        self._reading = Reading(self.datapath)
        for request in self._reading.requests:
            self.datapath.set_xid(request)  # all before the first may be answered
        for request in self._reading.requests:
            self.datapath.send_msg(request)
        return self._number

    def take_reply(self, message: Any) -> tuple[int, RuleSet] | None:
        """The reading's number and what the switch holds, once its last part is here."""
        found = self._reading.take(message) if self._reading is not None else None
        return None if found is None else (self._number, found)

    def _send(self, message: Any) -> int:
        self.datapath.set_xid(message)
        self.datapath.send_msg(message)
        xid: int = message.xid
        return xid
