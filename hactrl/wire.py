"""One OpenFlow connection as a session sees it: changes out, collected readings back.

Knows Ryu's datapath only by the methods it calls; messages are made and read by
`flows.openflow`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from flows import openflow
from flows.diff import Change
from flows.rules import RuleSet


@dataclass
class _Reading:
    """The replies to one `read`: three requests, each answered in one or more parts."""

    number: int
    open: set[int]
    replies: list[Any] = field(default_factory=list)


class RyuWire:
    """Implements `hactrl.switches.Wire`."""

    def __init__(self, datapath: Any) -> None:
        self.datapath = datapath
        self._reading: _Reading | None = None

    def take_master_role(self, generation_id: int) -> None:
        """Become the switch's master; it refuses a controller with an older generation id
        (OpenFlow 1.3.5, section 6.3.5)."""
        self._send(openflow.master_role_request(self.datapath, generation_id))

    def send(self, change: Change) -> list[int]:
        return [self._send(message) for message in openflow.messages(self.datapath, change)]

    def barrier(self) -> int:
        return self._send(openflow.barrier_request(self.datapath))

    def read(self) -> int:
        number = 0 if self._reading is None else self._reading.number + 1
        requests = openflow.read_requests(self.datapath)
        for request in requests:
            self.datapath.set_xid(request)
        self._reading = _Reading(number, {request.xid for request in requests})
        for request in requests:
            self.datapath.send_msg(request)  # may yield, and the reply come before it returns
        return number

    def take_reply(self, message: Any) -> tuple[int, RuleSet] | None:
        """The reading's number and what the switch holds, once its last part is here."""
        reading = self._reading
        if reading is None or message.xid not in reading.open:
            return None
        reading.replies.append(message)
        if not openflow.more_follows(message):
            reading.open.discard(message.xid)
        if reading.open:
            return None
        return reading.number, openflow.rule_set_of(reading.replies)

    def _send(self, message: Any) -> int:
        self.datapath.set_xid(message)
        self.datapath.send_msg(message)
        xid: int = message.xid
        return xid
