"""What one switch may cost the controller: messages, octets, time, and memory.

A connection that exceeds its budget ends, with one line of log. The limits are far above what a
switch with some 10,000 rules, or hosts that flood it, can bring about (what hosts send comes to us
through meters), and low enough that a controller with a few such peers serves all others.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from flows.openflow.walks import PeerError


class ExcessError(PeerError):
    """A peer costs more than it may."""


@dataclass(frozen=True)
class Allowance:
    """What may come at once, and what is given back in each second."""

    at_once: float
    a_second: float


@dataclass(frozen=True)
class Limits:
    """`work` is in seconds: of the controller's thread, for reading what came."""

    messages: Allowance
    octets: Allowance
    work: Allowance


OF_STRANGERS = Limits(
    messages=Allowance(1_000, 0), octets=Allowance(1_250_000, 0), work=Allowance(2.0, 0)
)
"""Until a switch has told its ports; 10,000 of them are 640 KB."""

OF_SWITCHES = Limits(
    messages=Allowance(50_000, 10_000),
    octets=Allowance(16_000_000, 2_000_000),
    work=Allowance(10.0, 0.25),
)
"""From then on. A reading of 5,000 rules is 1 MB and takes half a second; hosts on 200 ports, all
at the limit of their meters, make a switch send 10,000 messages a second."""

HANDSHAKE_TIME = 30.0
"""Seconds from the connection until the switch has told its ports. Long, because 300 switches may
come at once while their rules are compiled."""

MOST_PORTS = 10_000
"""Of one switch; Ryu remembers each that was ever told."""

ANSWER_OCTETS = 2_000_000
"""In one answer to one question: of rules, a sixteenth of all, some 10,000."""

ANSWER_TIME = 60.0
"""Seconds from a question until the last part of its answer."""


@dataclass(frozen=True)
class Budget:
    """What is left at a time of a clock that never jumps."""

    limits: Limits
    at: float
    messages: float
    octets: float
    work: float

    @classmethod
    def of(cls, limits: Limits, now: float) -> Budget:
        return cls(limits, now, limits.messages.at_once, limits.octets.at_once, limits.work.at_once)

    def spend(self, now: float, messages: int = 0, octets: int = 0, work: float = 0.0) -> Budget:
        """The budget after this.

        Raises ExcessError if it is more than was left.
        """
        passed, limits = now - self.at, self.limits
        return replace(
            self,
            at=now,
            messages=_left("messages", limits.messages, self.messages, passed, messages),
            octets=_left("octets", limits.octets, self.octets, passed, octets),
            work=_left("seconds of work", limits.work, self.work, passed, work),
        )


def _left(what: str, allowed: Allowance, left: float, passed: float, spent: float) -> float:
    left = min(allowed.at_once, left + passed * allowed.a_second) - spent
    if left < 0:
        again = f" and {allowed.a_second:g} a second" if allowed.a_second else ""
        raise ExcessError(f"more than {allowed.at_once:g} {what}{again}")
    return left
