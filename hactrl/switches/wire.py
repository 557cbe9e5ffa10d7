"""One OpenFlow connection as a session sees it: changes out, readings back.

Knows Ryu's datapath only by the methods it calls; messages are made and read by
`flows.openflow`.
"""

from __future__ import annotations

from typing import Any

from flows.diff import Change
from flows.openflow import Count, Counting, Counts, Reading, frame_again, frame_out, messages
from flows.rules import RuleSet
from hactrl import hub
from hactrl.hub import Event

#: Looks into which the time for an echo is parted. A hub that was held up looks once, and then
#: hears what has come meanwhile.
LOOKS = 5


class DatapathWire:
    """Implements `hactrl.switches.session.Wire`. Whatever sends waits while Ryu's queue of messages
    for the switch is full."""

    def __init__(self, datapath: Any) -> None:
        self.datapath = datapath
        self._number = 0
        self._role_request: int | None = None
        self._question: Reading | Count | None = None
        self._question_xid: int | None = None
        self._counting: Counting | None = None
        self._echoes: dict[int, Event] = {}

    def take_master_role(self, generation_id: int) -> None:
        """Become the switch's master; it refuses a controller with an older generation id
        (OpenFlow 1.3.5, section 6.3.7)."""
        parser, master = self.datapath.ofproto_parser, self.datapath.ofproto.OFPCR_ROLE_MASTER
        request = parser.OFPRoleRequest(self.datapath, master, generation_id)
        self._role_request = self._send(request)

    def take_role_reply(self, message: Any) -> bool:
        """Whether this, a role reply or an error, is the answer to `take_master_role`. There is
        only one."""
        if message.xid != self._role_request:
            return False
        self._role_request = None
        return True

    def answers_echo(self, deadline: float) -> bool:
        """Whether the switch answers an echo that is sent now, within so many seconds; waits for
        it. No, if its connection ends meanwhile (`ended`)."""
        request, answered = self.datapath.ofproto_parser.OFPEchoRequest(self.datapath), Event()
        self.datapath.set_xid(request)
        self._echoes[request.xid] = answered
        sender = hub.spawn(self.datapath.send_msg, request)
        try:
            for _ in range(LOOKS):
                with hub.Timeout(deadline / LOOKS, False):
                    return bool(answered.wait())
            return False
        finally:
            self._echoes.pop(request.xid, None)
            sender.kill()

    def take_echo_reply(self, xid: int) -> None:
        if answered := self._echoes.pop(xid, None):
            answered.send(True)

    def ended(self) -> None:
        """The connection is no more."""
        for answered in self._echoes.values():
            answered.send(False)
        self._echoes.clear()

    def send(self, change: Change) -> list[int]:
        return [self._send(message) for message in messages(self.datapath, change)]

    def barrier(self) -> int:
        return self._send(self.datapath.ofproto_parser.OFPBarrierRequest(self.datapath))

    def read(self) -> int:
        return self._ask(Reading(self.datapath))

    def count(self) -> int:
        return self._ask(Count(self.datapath))

    def take_reply(self, message: Any) -> tuple[int, RuleSet | int] | None:
        """See `Wire.take_reply`."""
        if self._question is None or not self._question.take(message):
            return None
        self._question_xid = self._send_next(self._question)
        if self._question_xid is not None:
            return None
        found, self._question = self._question.found(), None
        return self._number, found

    def question_failed(self, xid: int) -> bool:
        """See `Wire.question_failed`."""
        if self._question is None or xid != self._question_xid:
            return False
        self._question = None
        return True

    def count_answers(self) -> None:
        """See `hactrl.outlets.reply_counts.Switch`."""
        self._counting = Counting(self.datapath)
        self._send_next(self._counting)

    def take_counts(self, message: Any) -> Counts | None:
        """See `Wire.take_counts`."""
        if self._counting is None or not self._counting.take(message):
            return None
        if self._send_next(self._counting) is not None:
            return None
        found, self._counting = self._counting.found(), None
        return found

    def emit(self, frame: bytes, port: int) -> None:
        """Send the frame out of this port."""
        self._send(frame_out(self.datapath, frame, port))

    def resubmit(self, frame: bytes, port: int) -> None:
        """Treat the frame as if it had just come in by this port."""
        self._send(frame_again(self.datapath, frame, port))

    def _ask(self, question: Reading | Count) -> int:
        self._number += 1
        self._question = question
        self._question_xid = self._send_next(question)
        return self._number

    def _send_next(self, question: Reading | Count | Counting) -> int | None:
        """The transaction id of its next part; None where there is none."""
        request = question.next_request()
        return None if request is None else self._send(request)

    def _send(self, message: Any) -> int:
        self.datapath.set_xid(message)
        self.datapath.send_msg(message)
        xid: int = message.xid
        return xid
