"""What is known of the world, brought up to date by events. Nothing is decided here.

One function for each event; `NOTE` is the table of them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from hactrl.engine import doubts, judging, sight
from hactrl.engine.backbone import answers, learning
from hactrl.engine.effects import Record
from hactrl.engine.events import (
    AgentAnswered,
    AgentConnected,
    AgentLost,
    AgentReported,
    AnswersCounted,
    EpochStored,
    GuardConnected,
    GuardLost,
    Held,
    HostSighted,
    LeaseAsked,
    LinkHeard,
    Noticed,
    PortChanged,
    PowerFenced,
    ProbeChanged,
    ProberSight,
    ProbesChanged,
    Remembered,
    RulesInstalled,
    SwitchConnected,
    SwitchLost,
)
from hactrl.engine.roles import leases, ledger, ownership
from hactrl.engine.state import AgentState, Ask, AskKind, Health, SwitchState
from hactrl.engine.turn import Turn, with_item, without
from hactrl.vocabulary import EntryKind, Holding, Outcome, Proof
from topology.model import Attachment

AGENT_ASKS = frozenset({AskKind.RELEASE, AskKind.ASSUME, AskKind.PING})


#: How the journal says that an operation has failed.
FAILED = {
    AskKind.STORE: EntryKind.STORE_FAILED,
    AskKind.POWER: EntryKind.POWER_FAILED,
    AskKind.RELEASE: EntryKind.RELEASE_FAILED,
    AskKind.ASSUME: EntryKind.ASSUME_FAILED,
    AskKind.REMEMBER: EntryKind.REMEMBER_FAILED,
    AskKind.PING: EntryKind.PING_FAILED,
}


def switch_connected(turn: Turn, event: SwitchConnected) -> None:
    """Its rules are not yet known to be ours, so it has confirmed none. Of ports that have gone
    down while it was away nobody has told."""
    before = turn.state.switches.get(event.switch, SwitchState()).ports_up
    known = SwitchState(True, event.ports_up)
    if event.replaces:
        known = doubts.of_a_newcomer(turn, event, before)
    _put_switch(turn, event.switch, known)
    turn.update(installed=without(turn.state.installed, event.switch))
    turn.record(EntryKind.SWITCH_CONNECTED, switch=event.switch)
    for port in sorted(before - known.ports_up):
        learning.port_went_down(turn, Attachment(event.switch, port))


def switch_lost(turn: Turn, event: SwitchLost) -> None:
    switch = turn.state.switches.get(event.switch, SwitchState())
    _put_switch(turn, event.switch, replace(switch, connected=False))
    turn.record(EntryKind.SWITCH_LOST, switch=event.switch)


def port_changed(turn: Turn, event: PortChanged) -> None:
    """A port of a switch that has not yet said what its ports are means nothing yet."""
    switch = turn.state.switches.get(event.attachment.switch)
    port = event.attachment.port
    if switch is None or doubts.is_no_news(turn, switch, event):
        return
    ports = switch.ports_up | {port} if event.up else switch.ports_up - {port}
    _put_switch(turn, event.attachment.switch, replace(switch, ports_up=ports))
    turn.record(EntryKind.PORT_UP if event.up else EntryKind.PORT_DOWN, port=str(event.attachment))
    if not event.up:
        learning.port_went_down(turn, event.attachment)


def rules_installed(turn: Turn, event: RulesInstalled) -> None:
    state = turn.state
    known = event.switches & state.switches.keys()
    newer = {name for name in known if event.version > state.installed_on(name)}
    if newer:
        turn.update(installed={**state.installed, **dict.fromkeys(newer, event.version)})


def probe_changed(turn: Turn, event: ProbeChanged) -> None:
    """What was found before a fault of the prober's ended is out of date; see `sight`."""
    key = (event.role, event.service, event.interface)
    segment = turn.state.site.segment_of(event.interface)
    known = turn.state.found(*key)
    if event.round < turn.state.rounds.get(segment, 0):
        return
    now = (event.verdict, event.reason, event.said)
    if known is not None and (known.verdict, known.reason, known.said) == now:
        return
    told = sight.before(turn.state, segment, key)
    same = known is not None and known.verdict is event.verdict
    since = known.since if known is not None and same else turn.now
    health = Health(event.verdict, event.reason, since, event.said)
    turn.state = turn.state.with_found(*key, health)
    judging.heard(turn, segment)
    news = event.verdict is not told or sight.slow(known) is not sight.slow(health)
    if news and not sight.blind(turn.state, segment):
        details = {"service": event.service, "interface": event.interface}
        turn.record(
            EntryKind.PROBE_CHANGED,
            event.role,
            **details,
            verdict=event.verdict.value,
            reason=event.reason,
            said=event.said,
        )


def probes_changed(turn: Turn, event: ProbesChanged) -> None:
    for change in event.changes:
        probe_changed(turn, change)


def agent_connected(turn: Turn, event: AgentConnected) -> None:
    """A new boot ends a fence. What a fenced boot says is older than the fence, and void."""
    if event.server not in turn.state.site.network.servers:
        return
    roles = {held.role: held for held in event.roles}
    had = frozenset(held.role for held in event.roles if held.holding is not Holding.NOTHING)
    agent = AgentState(True, event.boot, roles, turn.now, had)
    turn.update(agents=with_item(turn.state.agents, event.server, agent))
    turn.record(EntryKind.AGENT_CONNECTED, server=event.server, boot=ledger.fingerprint(event.boot))
    _forget_agent_asks(turn, event.server)
    fence = turn.state.fenced.get(event.server)
    if fence is not None:
        if event.boot == fence.boot:
            return
        turn.update(fenced=without(turn.state.fenced, event.server))
        turn.record(EntryKind.SERVER_UNFENCED, server=event.server)
    for held in event.roles:
        ownership.hear(turn, event.server, held)
    for role in turn.state.site.roles:
        if role not in roles:
            ownership.hear(turn, event.server, Held(role, Holding.NOTHING, 0))


def agent_lost(turn: Turn, event: AgentLost) -> None:
    """Losing the agent is not losing the server. What it was asked will not be answered."""
    agent = turn.state.agents.get(event.server)
    if agent is None or not agent.connected:
        return
    agent = replace(agent, connected=False, since=turn.now)
    turn.update(agents=with_item(turn.state.agents, event.server, agent))
    for operation, ask in turn.state.asks.items():
        if ask.kind in AGENT_ASKS and ask.server == event.server and ask.outcome is None:
            fail_ask(turn, operation, ask, Outcome.FAILED)
    turn.record(EntryKind.AGENT_LOST, server=event.server)


def agent_reported(turn: Turn, event: AgentReported) -> None:
    agent = turn.state.agents.get(event.server)
    if agent is None or not agent.connected or event.server in turn.state.fenced:
        return
    _agent_says(turn, event.server, event.held)
    turn.record(
        EntryKind.AGENT_REPORTED,
        event.held.role,
        server=event.server,
        holding=event.held.holding.value,
        epoch=event.held.epoch,
    )


def agent_answered(turn: Turn, event: AgentAnswered) -> None:
    """An answer to something that we no longer wait for says nothing: what it was true of may
    have changed since."""
    ask = turn.state.asks.get(event.operation)
    if ask is None or ask.kind not in AGENT_ASKS or ask.outcome is not None:
        return
    ownership.learn_epoch(turn, ask.role, event.known_epoch)
    if ask.kind is AskKind.PING and event.outcome is Outcome.DONE:
        until = turn.now + turn.state.site.timers.retry_pause
        answered = replace(ask, outcome=Outcome.DONE, deadline=until)
        turn.update(asks=with_item(turn.state.asks, event.operation, answered))
        return
    if event.outcome is not Outcome.DONE:
        fail_ask(turn, event.operation, ask, event.outcome)
        return
    turn.update(asks=without(turn.state.asks, event.operation))
    result = Holding.NOTHING if ask.kind is AskKind.RELEASE else Holding.HELD
    _agent_says(turn, ask.server, Held(ask.role, result, ask.epoch))


def guard_connected(turn: Turn, event: GuardConnected) -> None:
    if event.server in turn.state.site.network.servers and event.role in turn.state.site.roles:
        turn.update(guards=turn.state.guards | {(event.server, event.role)})


def guard_lost(turn: Turn, event: GuardLost) -> None:
    """Losing its connection is not losing the guard: it has its role until the lease ends."""
    turn.update(guards=turn.state.guards - {(event.server, event.role)})


def power_fenced(turn: Turn, event: PowerFenced) -> None:
    """Whatever the server held is gone. If it runs again already, it is not fenced any more."""
    ask = turn.state.asks.get(event.operation)
    if ask is None or ask.kind is not AskKind.POWER or ask.outcome is not None:
        return
    if event.outcome is not Outcome.DONE:
        fail_ask(turn, event.operation, ask, event.outcome)
        return
    turn.update(asks=without(turn.state.asks, event.operation))
    ownership.proven_off(turn, ask.server, Proof.POWER, ask.boot)


def epoch_stored(turn: Turn, event: EpochStored) -> None:
    _written(turn, event.operation, AskKind.STORE, event.outcome)


def remembered(turn: Turn, event: Remembered) -> None:
    _written(turn, event.operation, AskKind.REMEMBER, event.outcome)


def _written(turn: Turn, operation: int, kind: AskKind, outcome: Outcome) -> None:
    ask = turn.state.asks.get(operation)
    if ask is None or ask.kind is not kind or ask.outcome is not None:
        return
    if outcome is Outcome.DONE:
        turn.update(asks=without(turn.state.asks, operation))
    else:
        fail_ask(turn, operation, ask, outcome)


def noticed(turn: Turn, event: Noticed) -> None:
    turn.do(Record(event.kind, event.role, event.details))


def fail_ask(turn: Turn, operation: int, ask: Ask, outcome: Outcome) -> None:
    """Keep it for a pause, so that it is not asked again at once."""
    until = turn.now + turn.state.site.timers.retry_pause
    failed = replace(ask, outcome=outcome, deadline=until)
    turn.update(asks=with_item(turn.state.asks, operation, failed))
    turn.record(FAILED[ask.kind], ask.role, server=ask.server, outcome=outcome.value)


def expire_asks(turn: Turn) -> None:
    """What was not answered in time has failed; what failed a pause ago may be asked again."""
    for operation, ask in turn.state.asks.items():
        if not turn.reached(ask.deadline):
            continue
        if ask.outcome is None:
            fail_ask(turn, operation, ask, Outcome.TIMED_OUT)
        else:
            turn.update(asks=without(turn.state.asks, operation))


def _agent_says(turn: Turn, server: str, held: Held) -> None:
    agent = turn.state.agents[server]
    agent = replace(agent, roles=with_item(agent.roles, held.role, held))
    turn.update(agents=with_item(turn.state.agents, server, agent))
    ownership.hear(turn, server, held)


def _forget_agent_asks(turn: Turn, server: str) -> None:
    """A new connection: nothing asked on the old one will be answered, all may be asked anew."""
    kept = {
        operation: ask
        for operation, ask in turn.state.asks.items()
        if ask.server != server or ask.kind not in AGENT_ASKS
    }
    turn.update(asks=kept)


def _put_switch(turn: Turn, name: str, switch: SwitchState) -> None:
    before = turn.state.switches.get(name, SwitchState())
    trunks = turn.state.site.network.trunk_ports_of[name]
    same = trunks & before.ports_up == trunks & switch.ports_up
    changed = before.trunks_changed if same else turn.now
    switch = replace(switch, trunks_changed=changed)
    turn.update(switches=with_item(turn.state.switches, name, switch))


NOTE: Mapping[type, Callable[[Turn, Any], None]] = {
    SwitchConnected: switch_connected,
    SwitchLost: switch_lost,
    PortChanged: port_changed,
    RulesInstalled: rules_installed,
    ProbeChanged: probe_changed,
    ProbesChanged: probes_changed,
    ProberSight: judging.told,
    AgentConnected: agent_connected,
    AgentLost: agent_lost,
    AgentReported: agent_reported,
    AgentAnswered: agent_answered,
    GuardConnected: guard_connected,
    GuardLost: guard_lost,
    PowerFenced: power_fenced,
    EpochStored: epoch_stored,
    Remembered: remembered,
    LeaseAsked: leases.answer_lease,
    HostSighted: learning.host_sighted,
    LinkHeard: learning.link_heard,
    AnswersCounted: answers.counted,
    Noticed: noticed,
}
