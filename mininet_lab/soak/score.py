"""What a soak has shown, from its diary, the ledgers and hactrl's history. Pure.

A way is asked by several protocols and address families: each is a channel of its own, and a way
is served when all of them are.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import inf

from hactrl.site.model import Site
from mininet_lab.mail.ledger import Kind as Entry
from mininet_lab.mail.ledger import MailRecord
from mininet_lab.soak.diary import Event, Line
from mininet_lab.soak.kinds import ROLE, Kind
from mininet_lab.soak.possible import Lack, Lacks, What, possible, serves

#: Way, protocol, family of addresses.
Channel = tuple[str, str, int]

#: Seconds without a success on a channel that count as unserved. Each is asked about every 0.7 s.
UNSERVED = 2.0

#: Seconds after which a guard that cannot renew may have ended its role: the lease of
#: frontier.yaml, counted from its last renewal, of which there are five in each lease.
LEASE = 11.5

#: Seconds that a server needs from power to an agent that takes roles, and a controller from its
#: start to decisions.
BOOT, START = 6.0, 6.0

#: Seconds after it was out of order for which a server's failure explains that a role leaves it.
EXPLAINS = 30.0


@dataclass(frozen=True)
class Span:
    """Something was out of order from `since` to `until`."""

    lack: Lack
    since: float
    until: float


@dataclass(frozen=True)
class Move:
    """A role went from `origin` to `target` at `at`, when the takeover began. `requested`: by an
    operator."""

    at: float
    role: str
    origin: str
    target: str
    cause: str
    requested: bool


@dataclass(frozen=True)
class Served:
    """How it went with one fault. `seconds`: from the strike until from then on, to the end of
    its round, no channel was unserved; None if one was to the end; `channel` is the slowest.
    `unserved`: of this time, the seconds in which the worst channel was unserved, but for those
    in which nobody could have served it. `alone`: the only one of its round."""

    number: int
    kind: Kind
    seconds: float | None
    unserved: float
    channel: Channel
    alone: bool


def spans(site: Site, diary: Sequence[Line]) -> tuple[Span, ...]:
    """What the diary says was out of order, and when."""
    found: list[Span] = []
    for index, line in enumerate(diary):
        later = diary[index + 1 :]
        if line.event is Event.STRUCK:
            until = _until(later, Event.MENDED, line.number)
            for where in line.where or ("",):
                found += _of_fault(site, Kind(line.kind), where, line.at, until)
        elif line.event is Event.POWER_OFF:
            on = next(
                (x.at for x in later if (x.event, x.target) == (Event.POWER_ON, line.target)), inf
            )
            found.append(Span(Lack(What.SERVER, line.target), line.at, on + BOOT))
        elif line.event is Event.CONTROLLER_ENDED:
            found.append(Span(Lack(What.CONTROLLER), line.at, line.at + START))
    return tuple(found)


def _until(later: Sequence[Line], event: Event, number: int) -> float:
    return next((x.at for x in later if (x.event, x.number) == (event, number)), inf)


def _of_fault(site: Site, kind: Kind, where: str, since: float, until: float) -> list[Span]:
    """`where` is a server, `role on server`, a card, a switch, a link, or nothing."""
    ends = until + _RECOVERS.get(kind, 0.0)
    lacks = _lacks(site, kind, where)
    found = [Span(lack, since, ends) for lack in lacks]
    leased = _leased(site, kind, where)
    return found + [Span(Lack(What.ROLE, role), since + LEASE, ends) for role in leased]


def _lacks(site: Site, kind: Kind, where: str) -> list[Lack]:
    match kind:
        case Kind.CARDS_SWITCH_SIDE | Kind.CARDS_SERVER_SIDE:
            cards = site.network.servers[where].interfaces
            return [Lack(What.CARD, card.name) for card in cards]
        case Kind.SWITCH_CUT_OFF:
            links = [x for x in site.network.links if where in (x.a.switch, x.b.switch)]
            return [Lack(What.LINK, str(link)) for link in links]
        case Kind.CONTROLLER_KILLED | Kind.CONTROLLER_FROZEN:
            return [Lack(What.CONTROLLER)]
    return [Lack(what, where) for what in _LACKS.get(kind, ())]


def _leased(site: Site, kind: Kind, where: str) -> list[str]:
    """Whose lease is not renewed as long as it lasts, as `role on server`."""
    match kind:
        case Kind.MANAGEMENT_CUT:
            return [f"{ROLE} on {where}"]
        case Kind.GUARD_FROZEN:
            return [where] if where.startswith(f"{ROLE} on ") else []
        case Kind.CONTROLLER_KILLED | Kind.CONTROLLER_FROZEN:
            return [f"{ROLE} on {server}" for server in site.roles[ROLE].servers]
    return []


#: What is out of order as long as a fault lasts. Whatever is neither here nor in `_lacks`
#: takes nothing from users: nobody may be moved because of it.
_LACKS: Mapping[Kind, tuple[What, ...]] = {
    Kind.POWER_CUT: (What.SERVER,),
    Kind.SERVER_FROZEN: (What.SERVER,),
    Kind.DAEMON_KILLED: (What.ROLE,),
    Kind.DAEMON_FROZEN: (What.ROLE,),
    Kind.GUARD_KILLED: (What.ROLE,),
    Kind.MANAGEMENT_CUT: (What.HANDS,),
    Kind.AGENT_KILLED: (What.HANDS,),
    Kind.AGENT_FROZEN: (What.HANDS,),
    Kind.CARD_SWITCH_SIDE: (What.CARD,),
    Kind.CARD_SERVER_SIDE: (What.CARD,),
    Kind.SWITCH_DEAD: (What.SWITCH,),
    Kind.TRUNK_DOWN: (What.LINK,),
    Kind.SPOOL_FULL: (What.SPOOL,),
    Kind.SPOOL_FAILING: (What.DISK,),
    Kind.SPOOL_READ_ONLY: (What.DISK,),
    Kind.ASKED_DISABLE: (What.HANDS,),
}

#: Seconds after the mending (or, of what is over at once, after the strike) in which it is not
#: yet as before.
_RECOVERS: Mapping[Kind, float] = {
    Kind.DAEMON_KILLED: 1.0,
    Kind.GUARD_KILLED: 1.0,
    Kind.AGENT_KILLED: 2.0,
    Kind.AGENT_FROZEN: 1.0,
    Kind.CONTROLLER_KILLED: START,
    Kind.CONTROLLER_FROZEN: 2.0,
    Kind.SWITCH_DEAD: 2.0,
    Kind.MANAGEMENT_CUT: 2.0,
}


@dataclass(frozen=True)
class Conditions:
    """What was out of order, and who had which role: `placed` are the moves that came to an end,
    in order."""

    site: Site
    spans: Sequence[Span]
    placed: Sequence[Move]

    def lacks_at(self, moment: float) -> Lacks:
        return frozenset(span.lack for span in self.spans if span.since <= moment < span.until)

    def placed_at(self, moment: float) -> dict[str, str]:
        """Who plays each role. At the beginning everybody has what it prefers."""
        placed = {role.name: role.servers[0] for role in self.site.roles.values()}
        for move in self.placed:
            if move.at <= moment:
                placed[move.role] = move.target
        return placed

    def excused(self, way: str, begin: float, end: float) -> float:
        """Of the time between two moments, the seconds in which nobody could have served a
        way."""
        changes = {begin, end, *(move.at for move in self.placed)}
        changes |= {moment for span in self.spans for moment in (span.since, span.until)}
        marks = sorted(moment for moment in changes if begin <= moment <= end)
        return sum(
            later - earlier
            for earlier, later in pairwise(marks)
            if way not in possible(self.site, self.lacks_at(earlier), self.placed_at(earlier))
        )

    def needless(self, begun: Iterable[Move]) -> list[Move]:
        """The moves that nobody asked for and nothing explains.

        A move is explained if, at any moment from EXPLAINS seconds before it began until then,
        the server that the role left was not able to serve it (`possible.serves`): it was off,
        hung or booting, a daemon of the role was dead or hung, its disk did not take what was
        written, its lease could not be renewed for as long as it lasts, or on one of the role's
        segments none of its cards could be reached by users whose own switch ran. What takes
        nothing from users explains nothing: an agent, a prober, a controller away for less than
        a lease, a fence, a full spool, one card or trunk of two. A takeover that gives a role to
        the server that has it is no move.
        """
        return [move for move in begun if not move.requested and not self._explained(move)]

    def _explained(self, move: Move) -> bool:
        begin = move.at - EXPLAINS
        marks = {span.since for span in self.spans if begin <= span.since <= move.at}
        return any(
            not serves(self.site, self.lacks_at(moment), move.role, move.origin)
            for moment in {begin, move.at} | marks
        )


def channels(entries: Iterable[MailRecord]) -> dict[Channel, list[tuple[float, float]]]:
    """When the successes on each channel began and ended, in order of their ends. A channel that
    was asked and never served is there, empty."""
    found: dict[Channel, list[tuple[float, float]]] = {}
    for entry in sorted(entries, key=lambda entry: entry.time):
        successes = found.setdefault((entry.way, entry.protocol, entry.family), [])
        if entry.kind in (Entry.ACKNOWLEDGED, Entry.SERVED):
            successes.append((entry.began, entry.time))
    return found


def unserved(
    successes: Sequence[tuple[float, float]], struck: float, until: float
) -> list[tuple[float, float]]:
    """The times from a strike until a later moment in which a channel was unserved: from one
    success to the next, of those that began after the strike."""
    ends = [end for began, end in successes if began >= struck and end <= until]
    pairs = pairwise((struck, *ends, until))
    return [(earlier, later) for earlier, later in pairs if later - earlier > UNSERVED]


def served_for_good(
    successes: Sequence[tuple[float, float]], struck: float, until: float
) -> float | None:
    """Seconds from the strike to the end of the last time in which a channel was unserved: of the
    first success that began after the strike, if it never was. None: it was unserved at the end.
    """
    gaps = unserved(successes, struck, until)
    if gaps:
        _, end = gaps[-1]
        return None if end == until else end - struck
    first = next((end for began, end in successes if began >= struck and end <= until), None)
    return None if first is None else first - struck


def served(
    conditions: Conditions,
    diary: Sequence[Line],
    successes: Mapping[Channel, Sequence[tuple[float, float]]],
) -> list[Served]:
    """Of every fault that struck, in order."""
    begins = [line.at for line in diary if line.event is Event.ROUND_BEGAN]
    end = diary[-1].at if diary else 0.0
    struck = [line for line in diary if line.event is Event.STRUCK]
    results = []
    for line in struck:
        begun = max((at for at in begins if at <= line.at), default=line.at)
        until = min((at for at in begins if at > line.at), default=end)
        times = {
            channel: served_for_good(each, line.at, until) for channel, each in successes.items()
        }
        slowest = max(times, key=lambda channel: _or_ever(times[channel]))
        alone = sum(begun <= other.at < until for other in struck) == 1
        results.append(
            Served(
                number=line.number,
                kind=Kind(line.kind),
                seconds=times[slowest],
                unserved=max(
                    _not_excused(conditions, channel, unserved(each, line.at, until))
                    for channel, each in successes.items()
                ),
                channel=slowest,
                alone=alone,
            )
        )
    return results


def _not_excused(
    conditions: Conditions, channel: Channel, gaps: Sequence[tuple[float, float]]
) -> float:
    way = channel[0]
    return sum(end - begin - conditions.excused(way, begin, end) for begin, end in gaps)


def _or_ever(seconds: float | None) -> float:
    return inf if seconds is None else seconds
