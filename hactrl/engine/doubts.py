"""What a switch says of its ports when its session may be a stranger's.

A session that takes the place of another one, which had not ended, is the switch itself after a
bad minute, or somebody who knows its number. Its word that a server's port is down would move
that server's roles. So for a while it counts only if no probe through that card says otherwise:
such a port is doubted, and stays among those that are up until its probes have failed too. A
cable that was really pulled is so believed a second later.
"""

from __future__ import annotations

from dataclasses import replace

from hactrl.engine.events import PortChanged, SwitchConnected
from hactrl.engine.state import State, SwitchState
from hactrl.engine.turn import Turn, with_item
from hactrl.vocabulary import EntryKind, Verdict

#: Seconds during which the news of such a session are doubted. What is doubted then stays so.
PROBATION = 30.0


def of_a_newcomer(turn: Turn, event: SwitchConnected, before: frozenset[int]) -> SwitchState:
    """What is known of a switch whose session has taken another's place. `before`: the ports that
    were up in that one's time."""
    gone = before - event.ports_up
    doubted = frozenset(port for port in gone if contradicted(turn.state, event.switch, port))
    up = event.ports_up | doubted
    return SwitchState(True, up, doubted=doubted, doubt_ends=turn.now + PROBATION)


def is_no_news(turn: Turn, switch: SwitchState, event: PortChanged) -> bool:
    """Does a port's change say what is known already, or what is not to be believed yet?"""
    name, port = event.attachment.switch, event.attachment.port
    if event.up and port in switch.doubted:
        _put(turn, name, replace(switch, doubted=switch.doubted - {port}))
        return True
    if (port in switch.ports_up) == event.up:
        return True
    fresh = switch.doubt_ends > turn.now
    if not event.up and fresh and contradicted(turn.state, name, port):
        _put(turn, name, replace(switch, doubted=switch.doubted | {port}))
        return True
    return False


def confirm(turn: Turn) -> None:
    """Believe of what was doubted whatever no probe speaks against any more."""
    for name, switch in turn.state.switches.items():
        if switch.doubted:
            left = {port for port in switch.doubted if contradicted(turn.state, name, port)}
            if gone := switch.doubted - left:
                up = switch.ports_up - gone
                _put(turn, name, replace(switch, ports_up=up, doubted=frozenset(left)))
                for port in sorted(gone):
                    turn.record(EntryKind.PORT_DOWN, port=f"{name}:{port}")


def contradicted(state: State, switch: str, port: int) -> bool:
    """Does a service answer through the card at this port?"""
    cards = {
        card.name
        for card in state.site.network.interfaces.values()
        if (card.attachment.switch, card.attachment.port) == (switch, port)
    }
    return any(
        card in cards and found.verdict in (Verdict.HEALTHY, Verdict.READY)
        for (_, _, card), found in state.all_found()
    )


def _put(turn: Turn, name: str, switch: SwitchState) -> None:
    turn.update(switches=with_item(turn.state.switches, name, switch))
