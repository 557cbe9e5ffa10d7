"""Metrics for Prometheus: what is, read from the state, and what happened, counted from the
journal's records."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Protocol

from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from hactrl.engine import readiness, sight
from hactrl.engine.effects import Record
from hactrl.engine.roles.candidates import connected
from hactrl.engine.state import AnswerCounts, State, SwitchState
from hactrl.vocabulary import EntryKind, Verdict

#: Seconds; a takeover in the lab takes a few tenths, a slow one tens.
TAKEOVER_BUCKETS = (0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1, 1.5, 2, 3, 5, 10, 30)


class Counters(Protocol):
    """What was sent to one switch since the controller started; see `hactrl.switches.session`."""

    changes: int
    refusals: int
    drifts: int
    readings: int


class Happenings:
    """Counts what the engine records. `observe` is to be called for each record."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._takeovers = Counter(
            "hactrl_takeovers", "Changes of placement", ["role", "result"], registry=registry
        )
        self._seconds = Histogram(
            "hactrl_takeover_seconds",
            "From the decision to move a role until its users are sent to the new server",
            ["role"],
            buckets=TAKEOVER_BUCKETS,
            registry=registry,
        )
        self._requests = Counter(
            "hactrl_requests", "Operators' requests", ["kind", "result"], registry=registry
        )
        self._refused = Counter(
            "hactrl_agents_refused",
            "Journal entries for agents and guards that were refused, one in ten seconds each, or,"
            " before they have shown a token, one in a minute for each address",
            ["peer", "refusal"],
            registry=registry,
        )
        self._strangers = Counter(
            "hactrl_switch_strangers",
            "Journal entries for connections that were no switch of the site, or claimed to be one"
            " that is connected, one in a minute each",
            ["reason"],
            registry=registry,
        )
        self._operators = Counter(
            "hactrl_operators_refused",
            "Journal entries for requests without the operator's token, one in a minute for each"
            " address",
            ["token"],
            registry=registry,
        )
        self._disconnected = Counter(
            "hactrl_openflow_disconnected",
            "Journal entries for peers at the OpenFlow port that sent what they may not, or too"
            " much, one in a minute each",
            ["peer"],
            registry=registry,
        )
        self._unwritable = Counter(
            "hactrl_store_unwritable",
            "How often the store could not be written, which is tried every second",
            registry=registry,
        )

    def observe(self, record: Record) -> None:
        details = dict(record.details)
        subject, _, result = record.kind.partition(".")
        if subject == "takeover" and result in ("started", "finished", "failed"):
            self._takeovers.labels(record.role, result).inc()
        if record.kind == EntryKind.TAKEOVER_FINISHED and "total" in details:
            self._seconds.labels(record.role).observe(float(details["total"]))
        if record.kind == EntryKind.STORE_UNWRITABLE:
            self._unwritable.inc()
        if record.kind == EntryKind.AGENT_REFUSED:
            self._refused.labels(str(details["peer"]), str(details["refusal"])).inc()
        if record.kind == EntryKind.OPERATOR_REFUSED:
            self._operators.labels(str(details["token"])).inc()
        if record.kind == EntryKind.OPENFLOW_DISCONNECTED:
            self._disconnected.labels(str(details["peer"])).inc()
        if subject == "switch" and result in ("refused", "unknown"):
            self._strangers.labels(result).inc()
        if subject == "request":
            self._requests.labels(str(details["kind_of_request"]), result).inc()


class StateCollector(Collector):
    """Reads the state whenever Prometheus asks; keeps nothing."""

    def __init__(
        self,
        snapshot: Callable[[], tuple[State, float]],
        counters: Callable[[], Mapping[str, Counters]],
        looking_round: Callable[[], bool] = bool,
        sightings_lost: Callable[[], int] = int,
    ) -> None:
        self._snapshot = snapshot
        self._counters = counters
        self._looking_round = looking_round
        self._sightings_lost = sightings_lost

    def describe(self) -> Iterator[Metric]:
        """None in advance: the names are known when they are asked for."""
        return iter(())

    def collect(self) -> Iterator[Metric]:
        state, now = self._snapshot()
        yield from _readiness(state, now, self._looking_round())
        yield from _sight(state, now)
        yield from _roles(state)
        yield from _servers(state)
        yield from _health(state)
        yield from _switches(state)
        yield from _answers(state)
        yield from _refused(state)
        yield from _sent(self._counters())
        yield CounterMetricFamily(
            "hactrl_sightings_lost",
            "Packets of unknown hosts for which the engine had no time",
            value=self._sightings_lost(),
        )


def _gauge(
    name: str, text: str, labels: list[str], values: list[tuple[list[str], float]]
) -> GaugeMetricFamily:
    family = GaugeMetricFamily(f"hactrl_{name}", text, labels=labels)
    for names, value in values:
        family.add_metric(names, value)
    return family


def _roles(state: State) -> Iterator[GaugeMetricFamily]:
    placed = state.placements.items()
    yield _gauge(
        "role_epoch",
        "Epoch of the role's placement",
        ["role"],
        [([name], placement.epoch) for name, placement in placed],
    )
    yield _gauge(
        "role_active",
        "1 where the role is played",
        ["role", "server"],
        [
            ([role.name, server], float(state.placements[role.name].server == server))
            for role in state.site.roles.values()
            for server in role.servers
        ],
    )
    yield _gauge(
        "role_takeover_under_way",
        "1 while the role moves",
        ["role"],
        [([name], float(name in state.takeovers)) for name in state.site.roles],
    )
    yield _gauge(
        "role_waiting",
        "1 while the role needs another server and nobody can take it",
        ["role"],
        [([name], float(bool(state.waiting.get(name)))) for name in state.site.roles],
    )
    yield _gauge(
        "role_failures",
        "How often a server has failed at a role, as far as that is held against it",
        ["role", "server"],
        [([role, server], known.count) for (role, server), known in state.failures.items()],
    )


def _readiness(state: State, now: float, looking_round: bool) -> Iterator[GaugeMetricFamily]:
    settled = not looking_round and not readiness.unsettled(state, now)
    text = "1 while nothing is under way or waited for, and all that is relied on is seen"
    yield _gauge("settled", text, [], [([], float(settled))])
    yield _gauge(
        "role_protected",
        "1 while the role could lose any one server",
        ["role"],
        [([role], float(not why)) for role, why in readiness.unprotected(state, now).items()],
    )


def _sight(state: State, now: float) -> Iterator[GaugeMetricFamily]:
    segments = list(state.site.probed)
    yield _gauge(
        "prober_sees",
        "1 while the segment's probes count as usual",
        ["segment"],
        [([segment], float(segment not in state.sights)) for segment in segments],
    )
    yield _gauge(
        "not_judged",
        "Reasons why services and interfaces of the segment are not judged",
        ["segment"],
        [([s], len(sight.of_segment(state, s, state.site.probed[s], now))) for s in segments],
    )


def _servers(state: State) -> Iterator[GaugeMetricFamily]:
    names = list(state.site.network.servers)
    facts: list[tuple[str, str, Callable[[str], bool]]] = [
        ("server_enabled", "What the operator wants", lambda n: n not in state.disabled),
        ("server_fenced", "1 while proven off", lambda n: n in state.fenced),
        ("agent_connected", "1 while the agent is heard", lambda n: connected(state, n)),
    ]
    for name, text, holds in facts:
        yield _gauge(name, text, ["server"], [([n], float(holds(n))) for n in names])


def _health(state: State) -> Iterator[GaugeMetricFamily]:
    cards = state.site.network.interfaces
    yield _gauge(
        "interface_port_up",
        "1 while the switch port is up",
        ["interface", "server"],
        [([c.name, c.server], float(state.port_up(c.attachment))) for c in cards.values()],
    )
    yield _gauge(
        "probe_healthy",
        "1 when the service answers through this interface, or is ready to without its resource",
        ["role", "service", "interface", "server"],
        [
            (
                [role, service, card, cards[card].server],
                float(health.verdict in (Verdict.HEALTHY, Verdict.READY)),
            )
            for (role, service, card), health in state.all_found()
            if health.verdict is not Verdict.UNKNOWN
        ],
    )


def _switches(state: State) -> Iterator[GaugeMetricFamily]:
    known = {n: state.switches.get(n, SwitchState()) for n in state.site.network.switches}
    yield _gauge(
        "switch_connected",
        "1 while the switch is connected",
        ["switch"],
        [([name], float(switch.connected)) for name, switch in known.items()],
    )
    yield _gauge(
        "switch_rules_current",
        "1 while the switch has confirmed the newest rules",
        ["switch"],
        [([name], float(state.installed_on(name) >= state.version)) for name in known],
    )
    yield _gauge("rules_version", "Version of the wanted rules", [], [([], state.version)])


def _answers(state: State) -> Iterator[Metric]:
    family = CounterMetricFamily(
        "hactrl_file_server_answer_bytes",
        "Sent by interfaces that are nearest to whom it goes to, and by others",
        labels=["server", "way"],
    )
    for name in state.site.network.file_servers:
        counted = state.answers.get(name, AnswerCounts())
        family.add_metric([name, "short"], counted.short)
        family.add_metric([name, "roundabout"], counted.roundabout)
    yield family


def _refused(state: State) -> Iterator[Metric]:
    family = CounterMetricFamily(
        "hactrl_host_refusals",
        "Packets of hosts at ports of backbones that said what is not so, or may not be said",
        labels=["port", "reason"],
    )
    for (reason, port), (count, _) in state.refused_sightings.items():
        family.add_metric([str(port), reason], count)
    yield family


def _sent(counters: Mapping[str, Counters]) -> Iterator[Metric]:
    facts: list[tuple[str, str, Callable[[Counters], int]]] = [
        ("changes", "Rules, groups and meters added, changed or deleted", lambda c: c.changes),
        ("refusals", "Changes that the switch refused", lambda c: c.refusals),
        ("drifts", "Readings that found other rules than the wanted ones", lambda c: c.drifts),
        ("readings", "Times that all rules were read back", lambda c: c.readings),
    ]
    for name, text, count in facts:
        family = CounterMetricFamily(f"hactrl_switch_{name}", text, labels=["switch"])
        for switch, values in counters.items():
            family.add_metric([switch], count(values))
        yield family
