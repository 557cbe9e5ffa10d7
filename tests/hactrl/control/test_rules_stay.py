"""The rules of the example sites are what they were, to the bit: in normal state, in each step of
each takeover, and after each single failure of a link, a card or a switch.

`python tests/hactrl/control/test_rules_stay.py` writes the digests anew, for a change that is meant
to change rules; its commit says which and why.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import pytest

from flows.compile import compile as compile_rules
from flows.rules import RuleSet
from hactrl.control.wanted import intents
from hactrl.engine.backbone.connectivity import network_now
from hactrl.engine.decide import initial
from hactrl.engine.outlook import outlook
from hactrl.engine.state import (
    Fenced,
    Health,
    Placement,
    State,
    Step,
    SwitchState,
    Takeover,
)
from hactrl.site.model import Site
from hactrl.site.reader import load
from hactrl.vocabulary import Verdict
from topology.backbones import routes
from topology.graph import LiveGraph
from topology.model import Attachment, Host

ROOT = Path(__file__).parents[3]
DIGESTS = Path(__file__).with_name("rules_of_examples.json")
EXAMPLES = ("frontier", "campus")

#: Ports of every switch: beyond those of any example.
PORTS = frozenset(range(1, 49))


def normal(site: Site) -> State:
    """Everything is up and answers, every role is where it is preferred, some hosts are known."""
    preferred = {name: (role.servers[0], 1) for name, role in site.roles.items()}
    state = initial(site, preferred, 0.0, hosts(site))
    for all_ in site.probed.values():
        for probed in all_:
            state = state.with_found(*probed.key, Health(Verdict.HEALTHY, "", 0.0))
    switches = {name: SwitchState(True, PORTS) for name in network(site)}
    return replace(state, switches=switches, sights={})


def network(site: Site) -> list[str]:
    return sorted(site.network.switches)


def hosts(site: Site) -> Iterable[Host]:
    """One on each switch of a backbone."""
    backbones = {name for name, segment in site.network.segments.items() if segment.backbone}
    members = [
        switch for switch in network(site) if site.network.switches[switch].segment in backbones
    ]
    for number, switch in enumerate(members, 1):
        yield Host(f"02:00:5e:00:53:{number:02x}", Attachment(switch, 40), number)


def situations(site: Site) -> Iterator[tuple[str, State]]:
    start = normal(site)
    yield "normal", start
    for role in site.roles.values():
        for target in role.servers:
            yield from takeover(start, role.name, target)
    for server in site.network.servers:
        yield f"{server} fenced", replace(start, fenced={server: Fenced(0.0, "")})
        yield f"{server} disabled", replace(start, disabled=frozenset({server}))
    ends = {str(link): (link.a, link.b) for link in site.network.links}
    cards = {**site.network.interfaces, **site.network.file_interfaces}
    ends |= {card.name: (card.attachment,) for card in cards.values()}
    for name, attachments in ends.items():
        yield f"{name} down", down(start, attachments)
    for switch in network(site):
        pairs = (
            pair for link in site.network.links for pair in ((link.a, link.b), (link.b, link.a))
        )
        yield f"{switch} dead", down(start, [far for near, far in pairs if near.switch == switch])
    for key, _ in start.all_found():
        failed = start.with_found(*key, Health(Verdict.UNHEALTHY, "refused", 0.0))
        yield f"{' '.join(key)} fails", failed


def takeover(start: State, role: str, target: str) -> Iterator[tuple[str, State]]:
    origin = start.placements[role].server
    for step in Step:
        moving = Takeover(role, origin, target, 2, "test", False, 0, step, 0.0, 0.0)
        yield f"{role} to {target}, {step.value}", replace(start, takeovers={role: moving})
    moved = {**start.placements, role: Placement(target, 2, 0.0)}
    yield f"{role} at {target}", replace(start, placements=moved)


def down(state: State, attachments: Iterable[Attachment]) -> State:
    switches = dict(state.switches)
    for end in attachments:
        known = switches[end.switch]
        switches[end.switch] = replace(known, ports_up=known.ports_up - {end.port})
    return replace(state, switches=switches)


def rules_of(state: State) -> dict[str, RuleSet]:
    site = state.site
    view = outlook(state)
    now = network_now(site.network, view)
    graph, wishes = LiveGraph.of(now, ports_up=view.ports_up), intents(site, view)
    live = {nearest.server.name: nearest.live for nearest in wishes.nearest}
    return compile_rules(now, graph, wishes, routes(graph, live))


def digest(rules: Mapping[str, RuleSet]) -> str:
    """Of all that is sent to switches, not of the words that say what an entry is for."""
    found = sha256()
    for switch, held in sorted(rules.items()):
        entries = (*held.rules.values(), *held.groups.values(), *held.meters.values())
        for text in sorted(repr(replace(entry, intent="")) for entry in entries):
            found.update(f"{switch} {text}\n".encode())
    return found.hexdigest()[:16]


def digests(example: str) -> dict[str, str]:
    site = load(ROOT / "examples" / f"{example}.yaml")
    return {name: digest(rules_of(state)) for name, state in situations(site)}


@pytest.mark.parametrize("example", EXAMPLES)
def test_the_rules_of_an_example_are_the_same_in_every_situation(example: str) -> None:
    assert digests(example) == json.loads(DIGESTS.read_text())[example]


if __name__ == "__main__":
    DIGESTS.write_text(json.dumps({name: digests(name) for name in EXAMPLES}, indent=1) + "\n")
