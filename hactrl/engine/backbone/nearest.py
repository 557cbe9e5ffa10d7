"""Which interfaces of a file server clients may be brought to."""

from __future__ import annotations

from hactrl.engine import sight
from hactrl.engine.backbone.connectivity import joined
from hactrl.engine.state import State
from hactrl.vocabulary import Verdict
from topology.model import FileServer, Interface


def live(state: State, server: FileServer) -> tuple[Interface, ...]:
    """The interfaces that work. If none does, those whose ports are up: a probe that fails on
    all of them says more about the probe or the daemon than about any interface. Nor does it say
    anything where no way leads from the prober to the interface: its neighbours may reach it."""
    up = tuple(card for card in server.interfaces if state.port_up(card.attachment))
    failing = [card for card in up if unhealthy(state, server, card)]
    prober = state.site.network.segments[server.segment].prober
    if failing and prober is not None:
        probed = joined(state, prober.attachment.switch)
        failing = [card for card in failing if card.attachment.switch in probed]
    return tuple(card for card in up if card not in failing) or up


def unhealthy(state: State, server: FileServer, card: Interface) -> tuple[str, ...]:
    """The services that do not answer on an interface; those not yet judged count as answering.
    Without a working prober nobody is judged."""
    if server.segment not in state.site.probed or sight.blind(state, server.segment):
        return ()
    return tuple(
        service.name
        for service in state.site.file_services.get(server.name, ())
        if (found := state.found(server.name, service.name, card.name))
        and found.verdict is Verdict.UNHEALTHY
    )
