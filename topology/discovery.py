"""Which trunk port hears which: links as they are seen, beside links as they are declared.

Two parts, both pure. `Ears` holds what was heard where and when; it ages with time and tells
only changes. `judge` compares what is heard with what the site file declares: which links may
be used, and what is plugged in wrongly.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Set
from dataclasses import dataclass, field, replace
from enum import Enum
from functools import cached_property

from topology.model import Attachment, Link, Network, Segment

#: Probes that the controller sends a second, all ports together, at most.
PROBE_BUDGET = 200.0
#: Seconds between two probes out of one port, at least.
SHORTEST_ROUND = 1.0
#: Rounds without a probe heard after which a port counts as hearing nothing.
MISSED_ROUNDS = 3

Heard = Mapping[Attachment, Attachment | None]
"""For each port that has had time to hear: the port that it hears, or None for silence."""


def round_time(ports: int) -> float:
    """Seconds in which each of so many ports is probed once, within the budget."""
    return max(SHORTEST_ROUND, ports / PROBE_BUDGET)


def lifetime(ports: int) -> float:
    """Seconds that what was heard stays true: the missed rounds, and half of one for the way."""
    return (MISSED_ROUNDS + 0.5) * round_time(ports)


@dataclass(frozen=True)
class Ears:
    """`heard`: for each port that listens, whom it hears (None: nobody yet) and when that was
    last true, in seconds of the clock given as `now`. `told`: what changes were given out for."""

    heard: Mapping[Attachment, tuple[Attachment | None, float]] = field(default_factory=dict)
    told: Heard = field(default_factory=dict)


@dataclass(frozen=True)
class Hearing:
    """`listener` now hears `speaker`; None: nobody, for the whole lifetime."""

    listener: Attachment
    speaker: Attachment | None


def listen(ears: Ears, ports: Iterable[Attachment], now: float) -> Ears:
    """Expect to hear something at these ports from now on; the clock of the others goes on."""
    fresh = {port: (None, now) for port in ports if port not in ears.heard}
    return replace(ears, heard={**ears.heard, **fresh}) if fresh else ears


def deafen(ears: Ears, gone: Callable[[Attachment], bool]) -> Ears:
    """Forget what was heard at such ports, and from them: they are down, or not trunks."""

    def kept(listener: Attachment, speaker: Attachment | None) -> bool:
        return not gone(listener) and (speaker is None or not gone(speaker))

    heard = {port: item for port, item in ears.heard.items() if kept(port, item[0])}
    if len(heard) == len(ears.heard):
        return ears
    return Ears(heard, {port: speaker for port, speaker in ears.told.items() if port in heard})


def hear(
    ears: Ears, listener: Attachment, speaker: Attachment, now: float
) -> tuple[Ears, Hearing | None]:
    """A probe that left `speaker` arrived at `listener`; the change, if that is new."""
    heard = {**ears.heard, listener: (speaker, now)}
    if ears.told.get(listener) == speaker:
        return replace(ears, heard=heard), None
    told = {**ears.told, listener: speaker}
    return Ears(heard, told), Hearing(listener, speaker)


def stand_still(ears: Ears, seconds: float, now: float) -> Ears:
    """So long, until now, probes were not sent that should have been: that counts for nobody."""
    heard = {port: (speaker, min(at + seconds, now)) for port, (speaker, at) in ears.heard.items()}
    return replace(ears, heard=heard)


def grow_old(
    ears: Ears, now: float, ports: int, reached: Set[str]
) -> tuple[Ears, tuple[Hearing, ...]]:
    """What has not been heard for the lifetime of so many `ports` is silence from now on.

    Only between switches that the controller has `reached`: from and to others no probe goes,
    so their silence says nothing, and their time stands still.
    """
    heard = dict(ears.heard)
    told = dict(ears.told)
    changes = []
    for listener, (speaker, at) in ears.heard.items():
        ends = {listener.switch} if speaker is None else {listener.switch, speaker.switch}
        if not ends <= reached:
            heard[listener] = (speaker, now)
        elif now - at > lifetime(ports):
            heard[listener] = (None, now)
            if listener not in told or told[listener] is not None:
                told[listener] = None
                changes.append(Hearing(listener, None))
    return Ears(heard, told), tuple(changes)


class LinkSight(Enum):
    """What is seen of a link. WAITING: neither end has had time to hear."""

    WAITING = "waiting"
    BOTH_WAYS = "both ways"
    ONE_WAY = "one way"
    UNSEEN = "unseen"
    ELSEWHERE = "elsewhere"


@dataclass(frozen=True)
class LinkView:
    """`used`: packets are sent over it while its ports are up."""

    link: Link
    declared: bool
    sight: LinkSight
    used: bool


class Trouble(Enum):
    """UNSEEN: declared and not seen. UNDECLARED: seen and not declared. ONE_WAY: heard at one
    end only. MISCABLED: an end of a declared link leads elsewhere."""

    UNSEEN = "unseen"
    UNDECLARED = "undeclared"
    ONE_WAY = "one_way"
    MISCABLED = "miscabled"


@dataclass(frozen=True)
class LinkFinding:
    """`link`: by name. `listener`, `expected` and `speaker`, of a miscabled end: where, which
    port the site file says is at its other end, and which one is heard there."""

    trouble: Trouble
    link: str
    listener: Attachment | None = None
    expected: Attachment | None = None
    speaker: Attachment | None = None


@dataclass(frozen=True)
class Cabling:
    links: tuple[LinkView, ...] = ()
    reports: tuple[LinkFinding, ...] = ()

    @property
    def misled(self) -> frozenset[str]:
        """The declared links that lead elsewhere, by name."""
        return frozenset(str(v.link) for v in self.links if v.sight is LinkSight.ELSEWHERE)

    @property
    def discovered(self) -> tuple[Link, ...]:
        """The links that are used although nobody has declared them."""
        return tuple(view.link for view in self.links if view.used and not view.declared)


def judge(network: Network, heard: Heard, closed: Set[Attachment] = frozenset()) -> Cabling:
    """Compare. `closed` are ports at which hosts are known to be: nothing heard there counts.

    A declared link is used as long as no end of it leads elsewhere, seen or not. One that is not
    declared is used where its segment discovers links, when both ends hear each other and are of
    two switches.
    """
    ears = _BothEnds(
        {
            listener: speaker
            for listener, speaker in heard.items()
            if listener not in closed and speaker not in closed
        }
    )
    views: list[LinkView] = []
    reports: list[LinkFinding] = []
    for link in backbone_links(network):
        sight = _sight(link, ears)
        views.append(LinkView(link, True, sight, sight is not LinkSight.ELSEWHERE))
        reports += _declared_troubles(link, sight, ears)
    for link in _undeclared(network, ears):
        sight = _sight(link, ears)
        views.append(LinkView(link, False, sight, _discovers(network, link, sight)))
        reports.append(LinkFinding(Trouble.UNDECLARED, str(link)))
        if sight is LinkSight.ONE_WAY:
            reports.append(LinkFinding(Trouble.ONE_WAY, str(link)))
    return Cabling(tuple(views), tuple(reports))


def backbone_links(network: Network) -> tuple[Link, ...]:
    """The declared links that join switches of a backbone, in order."""
    return tuple(
        sorted(
            (link for link in network.links if _backbone(network, link) is not None),
            key=lambda link: (link.a, link.b),
        )
    )


def claimed_ports(network: Network) -> frozenset[Attachment]:
    """The ports at which the site file says that a server's interface or the prober is."""
    cards = (*network.interfaces.values(), *network.file_interfaces.values())
    probers = (s.prober.attachment for s in network.segments.values() if s.prober)
    return frozenset((*(card.attachment for card in cards), *probers))


def _backbone(network: Network, link: Link) -> Segment | None:
    """The backbone that both ends of a link are in."""
    ends = {network.switches[end.switch].segment for end in (link.a, link.b)}
    segment = network.segments[ends.pop()]
    return segment if segment.backbone and not ends else None


def _discovers(network: Network, link: Link, sight: LinkSight) -> bool:
    """One from a switch to itself brings packets nowhere, and a host that sends back what it
    hears would pass for it."""
    segment = _backbone(network, link)
    if segment is None or link.a.switch == link.b.switch:
        return False
    return segment.discover and sight is LinkSight.BOTH_WAYS


@dataclass(frozen=True)
class _BothEnds:
    """Whom each port hears, and by whom each is heard."""

    heard: Heard

    @cached_property
    def listeners(self) -> Mapping[Attachment, list[Attachment]]:
        found: dict[Attachment, list[Attachment]] = {}
        for listener, speaker in self.heard.items():
            if speaker is not None:
                found.setdefault(speaker, []).append(listener)
        return found


def _sight(link: Link, ears: _BothEnds) -> LinkSight:
    if any(_leads_elsewhere(link, ears)):
        return LinkSight.ELSEWHERE
    at_a, at_b = ears.heard.get(link.a) == link.b, ears.heard.get(link.b) == link.a
    if at_a and at_b:
        return LinkSight.BOTH_WAYS
    told = [end for end in (link.a, link.b) if end in ears.heard]
    if at_a or at_b:
        return LinkSight.ONE_WAY if len(told) == 2 else LinkSight.WAITING
    return LinkSight.UNSEEN if len(told) == 2 else LinkSight.WAITING


def _leads_elsewhere(link: Link, ears: _BothEnds) -> Iterator[tuple[Attachment, Attachment]]:
    """The ends that hear another port than the declared one, with what they hear; then the ends
    that are heard at another port, with that one."""
    for here, there in ((link.a, link.b), (link.b, link.a)):
        speaker = ears.heard.get(here)
        if speaker is not None and speaker != there:
            yield here, speaker
        for listener in ears.listeners.get(here, ()):
            if listener not in (there, speaker):
                yield here, listener


def _declared_troubles(link: Link, sight: LinkSight, ears: _BothEnds) -> Iterator[LinkFinding]:
    name = str(link)
    if sight is LinkSight.UNSEEN:
        yield LinkFinding(Trouble.UNSEEN, name)
    elif sight is LinkSight.ONE_WAY:
        yield LinkFinding(Trouble.ONE_WAY, name)
    for here, found in _leads_elsewhere(link, ears):
        expected = link.b if here == link.a else link.a
        yield LinkFinding(Trouble.MISCABLED, name, here, expected, found)


def _undeclared(network: Network, ears: _BothEnds) -> tuple[Link, ...]:
    """Links that are seen at one end at least, each once, and that nobody has declared. Nobody
    has said what they carry either, so they cost as much as the dearest declared link there."""
    declared = {frozenset((link.a, link.b)) for link in network.links}
    seen = {
        (min(listener, speaker), max(listener, speaker))
        for listener, speaker in ears.heard.items()
        if speaker is not None and frozenset((listener, speaker)) not in declared
    }
    dearest: dict[str, int] = {}
    for link in network.links:
        segment = network.switches[link.a.switch].segment
        dearest[segment] = max(link.cost, dearest.get(segment, 1))
    return tuple(
        Link(a, b, dearest.get(network.switches[a.switch].segment, 1)) for a, b in sorted(seen)
    )
