"""What a switch has counted of the answers of file servers (`flows.tables.edge`)."""

from __future__ import annotations

from typing import Any

from flows.numbers import CookieKind
from flows.openflow.fields import from_ryu
from flows.openflow.replies import PARTS
from flows.openflow.ryu_mended import ofproto, parser
from flows.rules import COOKIE_PREFIX, LEARNT_MASK

#: Bytes by port of entry and destination (the value of its match), since each rule stands.
Counts = dict[tuple[int, int], int]


class Counting:
    """One reading of all the counters of a switch, in parts, as and for the reasons of
    `replies.Reading`, and used like it."""

    def __init__(self, datapath: Any) -> None:
        self._datapath = datapath
        self._waiting = list(range(PARTS))
        self._asked: Any = None
        self._found: Counts = {}

    def next_request(self) -> Any | None:
        """See `Reading.next_request`."""
        self._asked = self._flows(self._waiting.pop(0)) if self._waiting else None
        return self._asked

    def take(self, reply: Any) -> bool:
        """See `Reading.take`."""
        if self._asked is None or reply.xid != self._asked.xid:
            return False
        for entry in reply.body:
            if {"in_port", "eth_dst"} <= {name for name, _ in entry.match.items()}:
                target = entry.match["eth_dst"]
                value = target[0] if isinstance(target, tuple) else target
                key = entry.match["in_port"], from_ryu("eth_dst", value)
                self._found[key] = entry.byte_count
        return not reply.flags & ofproto.OFPMPF_REPLY_MORE

    def found(self) -> Counts:
        """All counters."""
        return self._found

    def _flows(self, part: int) -> Any:
        return parser.OFPFlowStatsRequest(
            self._datapath,
            table_id=ofproto.OFPTT_ALL,
            cookie=COOKIE_PREFIX | CookieKind.ANSWERS << 32 | part,
            cookie_mask=LEARNT_MASK | (PARTS - 1),
            match=parser.OFPMatch(),
        )
