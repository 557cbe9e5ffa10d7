"""What the engine does, one behaviour a test, on the small site of `simulation.make_site`:
`mail` owns the spool and prefers alpha; `relay` owns nothing and prefers beta."""

from __future__ import annotations

from typing import TypeVar

import pytest
from simulation import MAIL, RELAY, make_site

from hactrl.control.wanted import intents
from hactrl.engine.decide import decide, initial
from hactrl.engine.effects import (
    AnswerRequest,
    AskAgent,
    Effect,
    FencePower,
    GrantLease,
    Obstacle,
    ProbeEagerly,
    Reason,
    Record,
    StorePlacement,
    Verb,
    Wake,
)
from hactrl.engine.events import (
    AgentAnswered,
    AgentConnected,
    AgentLost,
    AgentReported,
    EpochStored,
    Event,
    GuardConnected,
    GuardLost,
    Held,
    LeaseAsked,
    PortChanged,
    PowerFenced,
    ProbeChanged,
    Remembered,
    Requested,
    RequestKind,
    RulesInstalled,
    SwitchConnected,
    SwitchLost,
    Tick,
)
from hactrl.engine.roles.candidates import obstacles
from hactrl.engine.state import AskKind, State, Step
from hactrl.site.model import Site
from hactrl.vocabulary import Holding, Outcome, Proof, Verdict

Kind = TypeVar("Kind")

UP = frozenset(range(1, 20))
PATIENCE = make_site().timers.startup_patience


class Engine:
    """A site in its normal state, and what is told to it. `now` moves only when told to."""

    def __init__(self, site: Site | None = None, epoch: int = 3) -> None:
        self.site = site or make_site()
        self.now = 100.0
        stored = {MAIL: ("alpha", epoch), RELAY: ("beta", 1)}
        self.state: State = initial(self.site, stored, self.now)
        self.effects: list[Effect] = []
        for switch in self.site.network.switches:
            self.tell(SwitchConnected(switch, self.ports_up(switch)))
        self.rules_installed()
        for server in self.site.network.servers:
            holding = Holding.HELD if server == "alpha" else Holding.NOTHING
            self.agent(server, holding, epoch)
            self.probe(server, MAIL, Verdict.HEALTHY if server == "alpha" else Verdict.READY)
            self.probe(server, RELAY, Verdict.HEALTHY)
        self.all_written()
        self.effects.clear()

    def ports_up(self, _switch: str) -> frozenset[int]:
        return UP

    def tell(self, *events: Event) -> Engine:
        for event in events:
            self.state, effects = decide(self.state, event, self.now)
            self.effects += effects
        return self

    def wait(self, seconds: float) -> Engine:
        self.now += seconds
        return self.tell(Tick())

    def pass_quietly(self, seconds: int) -> Engine:
        """Time passes, and alpha's guard renews its lease."""
        for _ in range(seconds):
            self.wait(1.0).tell(LeaseAsked("renewal", "alpha", MAIL, 3))
        return self

    def all(self, kind: type[Kind]) -> list[Kind]:
        return [effect for effect in self.effects if isinstance(effect, kind)]

    def last(self, kind: type[Kind]) -> Kind:
        return self.all(kind)[-1]

    def asked(self, verb: Verb) -> list[AskAgent]:
        return [asked for asked in self.all(AskAgent) if asked.verb is verb]

    def recorded(self, kind: str) -> list[Record]:
        return [record for record in self.all(Record) if record.kind == kind]

    def agent(
        self, server: str, holding: Holding = Holding.NOTHING, epoch: int = 3, boot: str = "b1"
    ) -> Engine:
        return self.tell(AgentConnected(server, boot, (Held(MAIL, holding, epoch),)))

    def probe(self, server: str, role: str, verdict: Verdict, reason: str = "") -> Engine:
        wanted = self.site.roles[role]
        for service in wanted.services:
            for card in self.site.cards(wanted, server, service.segment):
                self.tell(ProbeChanged(role, service.name, card.name, verdict, reason))
        return self

    def ports(self, server: str, up: bool, segment: str | None = None) -> Engine:
        for card in self.site.network.servers[server].interfaces:
            if segment in (None, card.segment):
                self.tell(PortChanged(card.attachment, up))
        return self

    def request(
        self, kind: RequestKind, role: str, target: str | None, dry: bool = False
    ) -> AnswerRequest:
        self.tell(Requested("r1", kind, role, target, "because", dry))
        if not self.all(AnswerRequest):
            self.written()
        return self.last(AnswerRequest)

    def written(self, outcome: Outcome = Outcome.DONE) -> Engine:
        """What the engine wants remembered is on disk, or could not be put there."""
        asks = [op for op, ask in self.state.asks.items() if ask.kind is AskKind.REMEMBER]
        return self.tell(Remembered(min(asks), outcome))

    def all_written(self) -> Engine:
        """Whatever is on its way to the memory on disk has arrived there."""
        while any(ask.kind is AskKind.REMEMBER for ask in self.state.asks.values()):
            self.written()
        return self

    def signs(self) -> Engine:
        """All who are asked for a sign of life give it."""
        for operation, ask in self.state.asks.items():
            if ask.kind is AskKind.PING and ask.outcome is None:
                self.tell(AgentAnswered(operation, ask.server, ask.role, Outcome.DONE, 0))
        return self

    def stored(self) -> Engine:
        takeover = self.state.takeovers.get(MAIL)
        if takeover is not None and takeover.planned and takeover.operation == 0:
            self.signs()
        return self.all_written().tell(
            EpochStored(self.last(StorePlacement).operation, Outcome.DONE)
        )

    def power(self, outcome: Outcome = Outcome.DONE) -> Engine:
        fence = self.last(FencePower)
        return self.tell(PowerFenced(fence.operation, fence.server, outcome))

    def silent(self) -> Engine:
        """The agent of the server whose ports are down does not answer: it is dead."""
        return self.answer(Verb.STATUS, Outcome.TIMED_OUT)

    def answer(self, verb: Verb, outcome: Outcome = Outcome.DONE, known: int = 0) -> Engine:
        return self.answer_to(self.asked(verb)[-1], outcome, known)

    def answer_to(self, asked: AskAgent, outcome: Outcome = Outcome.DONE, known: int = 0) -> Engine:
        return self.tell(AgentAnswered(asked.operation, asked.server, asked.role, outcome, known))

    def rules_installed(self) -> Engine:
        for switch in self.site.network.switches:
            self.tell(RulesInstalled(frozenset({switch}), self.state.version))
        return self

    def step(self, role: str = MAIL) -> Step | None:
        takeover = self.state.takeovers.get(role)
        return takeover.step if takeover else None

    def order(self, role: str, segment: str) -> list[str]:
        for steer in intents(self.site, self.state.outlook).steers:
            if (steer.address.role, steer.address.segment) == (role, segment):
                return [card.interface for card in steer.order]
        raise AssertionError((role, segment))

    def speakers(self, role: str) -> set[str]:
        speaks = intents(self.site, self.state.outlook).speaks
        return {speak.candidate.server for speak in speaks if speak.candidate.role == role}


@pytest.fixture
def engine() -> Engine:
    return Engine()


# What is a failure, and what is not.


def test_a_normal_site_is_left_alone(engine: Engine) -> None:
    engine.pass_quietly(60)
    assert not engine.state.takeovers
    assert not engine.all(StorePlacement)


def test_losing_all_ports_of_a_segment_moves_the_role(engine: Engine) -> None:
    engine.ports("alpha", False, "outer")
    assert engine.last(StorePlacement).server == "beta"


def test_losing_one_of_two_cards_moves_nothing(engine: Engine) -> None:
    engine.tell(PortChanged(engine.site.network.interfaces["alpha-inner0"].attachment, False))
    assert not engine.state.takeovers


def test_a_daemons_end_moves_the_role_at_once(engine: Engine) -> None:
    engine.tell(AgentReported("alpha", Held(MAIL, Holding.FAILED, 3)))
    assert engine.state.takeovers[MAIL].cause == "role_failed"


@pytest.mark.parametrize("reason", ["refused", "refused_ipv6", "silent", "silent_ipv4"])
def test_what_is_certain_of_a_service_moves_the_role_at_once(engine: Engine, reason: str) -> None:
    engine.probe("alpha", MAIL, Verdict.UNHEALTHY, reason)
    assert engine.step() is Step.STORE


def test_a_silent_service_moves_the_role_after_one_more_interval(engine: Engine) -> None:
    engine.probe("alpha", MAIL, Verdict.UNHEALTHY, "timeout")
    assert engine.step() is None
    engine.wait(0.25)
    assert engine.step() is Step.STORE


def test_when_all_services_fall_silent_alike_nothing_moves(engine: Engine) -> None:
    engine.probe("alpha", MAIL, Verdict.UNHEALTHY, "timeout")
    engine.probe("beta", MAIL, Verdict.UNHEALTHY, "timeout")
    engine.pass_quietly(60)
    assert not engine.state.takeovers
    assert Obstacle(Reason.SERVICE_UNHEALTHY, "smtp") in engine.state.waiting[MAIL]


def test_one_bad_card_only_changes_the_order_of_cards(engine: Engine) -> None:
    assert engine.order(MAIL, "inner") == ["alpha-inner0", "alpha-inner1"]
    engine.tell(ProbeChanged(MAIL, "smtp", "alpha-inner0", Verdict.UNHEALTHY, "refused"))
    assert engine.order(MAIL, "inner") == ["alpha-inner1", "alpha-inner0"]
    assert not engine.state.takeovers


def test_losing_the_agent_is_not_losing_the_server(engine: Engine) -> None:
    engine.tell(AgentLost("alpha"))
    engine.tell(LeaseAsked("l", "alpha", MAIL, 3))
    engine.wait(4.0)
    assert not engine.state.takeovers


@pytest.mark.reported("A6")
def test_guards_are_known_while_they_are_connected(engine: Engine) -> None:
    engine.tell(GuardConnected("alpha", MAIL), GuardConnected("beta", RELAY))
    engine.tell(GuardConnected("alpha", "no such role"), GuardConnected("nobody", MAIL))
    assert engine.state.guards == {("alpha", MAIL), ("beta", RELAY)}
    engine.tell(AgentLost("alpha"), GuardLost("beta", RELAY), GuardLost("nobody", MAIL))
    assert engine.state.guards == {("alpha", MAIL)}


def test_losing_a_switch_is_losing_sight_only(engine: Engine) -> None:
    version = engine.state.version
    engine.tell(SwitchLost("inner"), SwitchLost("outer"))
    assert not engine.state.takeovers
    assert engine.state.version == version


def test_a_probers_dead_port_makes_its_verdicts_mean_nothing(engine: Engine) -> None:
    prober = engine.site.network.segments["inner"].prober
    assert prober is not None
    engine.tell(PortChanged(prober.attachment, False))
    engine.probe("alpha", MAIL, Verdict.UNHEALTHY, "refused")
    assert not engine.state.takeovers


# The takeover of a role that owns something.


def test_a_takeover_takes_its_five_steps_in_order(engine: Engine) -> None:
    engine.ports("alpha", False)
    assert engine.last(StorePlacement).epoch == 4
    assert not engine.all(FencePower)
    engine.stored()
    assert engine.step() is Step.FENCE
    assert engine.order(MAIL, "inner") == []
    assert engine.speakers(MAIL) == set()
    assert not engine.asked(Verb.ASSUME)
    engine.silent().power()
    assert engine.asked(Verb.ASSUME)[-1].proof is Proof.POWER
    engine.answer(Verb.ASSUME)
    assert engine.step() is Step.SERVE
    assert engine.last(ProbeEagerly).server == "beta"
    assert engine.order(MAIL, "inner") == []
    engine.probe("beta", MAIL, Verdict.HEALTHY)
    assert engine.step() is Step.STEER
    assert engine.order(MAIL, "inner") == ["beta-inner0", "beta-inner1"]
    engine.rules_installed()
    assert engine.step() is None
    assert engine.state.placements[MAIL].server == "beta"
    details = dict(engine.recorded("takeover.finished")[-1].details)
    assert (details["proof"], details["cause"]) == ("power", "no_live_interface")
    assert {"store", "fence", "assume", "serve", "steer", "total"} <= set(details)


def test_all_ways_of_proof_are_sought_at_once(engine: Engine) -> None:
    engine.ports("alpha", False).stored()
    assert engine.asked(Verb.RELEASE)[-1].server == "alpha"
    engine.silent()
    assert engine.last(FencePower).server == "alpha"


def test_a_server_that_answers_is_asked_before_its_power_is_cut(engine: Engine) -> None:
    engine.probe("alpha", MAIL, Verdict.UNHEALTHY, "refused").stored()
    assert engine.asked(Verb.RELEASE)
    assert not engine.all(FencePower)
    engine.answer(Verb.RELEASE, Outcome.FAILED)
    assert engine.last(FencePower).server == "alpha"


def test_a_release_that_is_not_answered_in_time_leads_to_a_power_cut(engine: Engine) -> None:
    engine.probe("alpha", MAIL, Verdict.UNHEALTHY, "refused").stored()
    engine.wait(engine.site.timers.release_deadline)
    assert engine.all(FencePower)


def test_without_proof_the_engine_waits_and_says_for_what() -> None:
    engine = Engine(make_site(lease=None, power=False))
    engine.tell(AgentLost("alpha")).ports("alpha", False).stored()
    engine.wait(600.0)
    assert engine.step() is Step.FENCE
    assert engine.state.takeovers[MAIL].waiting_for == (Obstacle(Reason.NO_PROOF, "alpha"),)
    assert not engine.asked(Verb.ASSUME)


def test_the_end_of_the_lease_and_its_margin_is_a_proof() -> None:
    engine = Engine(make_site(power=False))
    engine.tell(LeaseAsked("l", "alpha", MAIL, 3), AgentLost("alpha"))
    engine.ports("alpha", False).stored()
    engine.wait(4.49)
    assert not engine.asked(Verb.ASSUME)
    engine.wait(0.02)
    assert engine.asked(Verb.ASSUME)[-1].proof is Proof.LEASE


@pytest.mark.parametrize(
    ("outcome", "proof"), [(Outcome.DONE, Proof.POWER), (Outcome.FAILED, Proof.LEASE)]
)
def test_who_is_gone_only_by_the_end_of_its_lease_loses_its_power_too_if_that_works(
    outcome: Outcome, proof: Proof
) -> None:
    """The end of a lease clears no mount guard: the new owner would wait for that."""
    engine = Engine()
    engine.tell(LeaseAsked("l", "alpha", MAIL, 3), AgentLost("alpha")).wait(4.51)
    engine.ports("alpha", False).stored()
    assert dict(engine.recorded("ownership.proven")[-1].details)["proof"] == Proof.LEASE.value
    assert engine.last(FencePower).server == "alpha"
    assert not engine.asked(Verb.ASSUME)
    engine.power(outcome)
    assert engine.asked(Verb.ASSUME)[-1].proof is proof


def test_a_release_of_a_target_that_failed_says_nothing_of_who_was_before_it() -> None:
    engine = Engine(make_site(power=False))
    engine.tell(LeaseAsked("l", "alpha", MAIL, 3), AgentLost("alpha"))
    engine.ports("alpha", False).stored().wait(4.51).answer(Verb.ASSUME, Outcome.FAILED)
    engine.tell(AgentReported("beta", Held(MAIL, Holding.NOTHING, 4)))
    engine.wait(engine.site.timers.retry_pause).stored()
    assert [asked.proof for asked in engine.asked(Verb.ASSUME)] == [Proof.LEASE, Proof.LEASE]


def test_who_holds_the_role_has_waited_for_what_others_left() -> None:
    engine = Engine(make_site(power=False))
    engine.tell(LeaseAsked("l", "alpha", MAIL, 3), AgentLost("alpha"))
    engine.ports("alpha", False).stored().wait(4.51).answer(Verb.ASSUME)
    assert engine.state.holders[MAIL].keys() == {"beta"}


def test_a_failed_power_cut_is_tried_again_after_a_pause(engine: Engine) -> None:
    engine.tell(AgentLost("alpha")).ports("alpha", False).stored().power(Outcome.FAILED)
    assert len(engine.all(FencePower)) == 1
    engine.wait(engine.site.timers.retry_pause)
    assert len(engine.all(FencePower)) == 2


def test_an_unreachable_switch_delays_nothing(engine: Engine) -> None:
    engine.tell(SwitchLost("outer"))
    engine.ports("alpha", False).silent().stored().power().answer(Verb.ASSUME)
    engine.probe("beta", MAIL, Verdict.HEALTHY)
    engine.tell(RulesInstalled(frozenset({"inner"}), engine.state.version))
    assert engine.step() is None


def test_a_target_that_fails_to_assume_is_released_and_the_next_is_tried() -> None:
    engine = Engine(make_site(servers=3))
    engine.ports("alpha", False).silent().stored().power().answer(Verb.ASSUME, Outcome.FAILED)
    assert engine.last(StorePlacement).server == "gamma"
    assert engine.last(StorePlacement).epoch == 5
    engine.stored()
    assert (engine.asked(Verb.RELEASE)[-1].server, engine.step()) == ("beta", Step.FENCE)


def test_an_agent_that_knows_a_higher_epoch_raises_ours(engine: Engine) -> None:
    engine.ports("alpha", False).silent().stored().power().answer(
        Verb.ASSUME, Outcome.REFUSED, known=9
    )
    assert engine.last(StorePlacement).epoch == 10


def test_the_power_of_who_looks_dead_is_cut_while_the_epoch_is_written(engine: Engine) -> None:
    engine.ports("alpha", False).silent()
    assert engine.step() is Step.STORE
    assert engine.last(FencePower).server == "alpha"
    assert not engine.asked(Verb.RELEASE), "that would name the epoch"


def test_a_store_that_fails_changes_nothing(engine: Engine) -> None:
    engine.ports("alpha", False)
    engine.tell(EpochStored(engine.last(StorePlacement).operation, Outcome.FAILED))
    assert not engine.asked(Verb.RELEASE)
    assert engine.state.waiting[MAIL]


def test_a_power_cut_moves_every_role_of_the_server(engine: Engine) -> None:
    engine.request(RequestKind.FAILOVER, RELAY, "alpha")
    engine.rules_installed().ports("alpha", False, "inner").stored()
    assert set(engine.state.takeovers) == {MAIL}
    engine.answer(Verb.RELEASE, Outcome.FAILED).power()
    assert engine.state.takeovers[RELAY].target == "beta"


def test_an_automatic_move_is_followed_by_a_pause(engine: Engine) -> None:
    engine.ports("alpha", False).silent().stored().power().answer(Verb.ASSUME)
    engine.probe("beta", MAIL, Verdict.HEALTHY).rules_installed()
    engine.ports("alpha", True).agent("alpha", boot="b2", epoch=4)
    engine.probe("alpha", MAIL, Verdict.READY).probe("beta", MAIL, Verdict.UNHEALTHY, "refused")
    assert engine.step() is None
    assert Obstacle(Reason.HELD_DOWN, MAIL) in engine.state.waiting[MAIL]
    engine.wait(engine.site.timers.retry_pause)
    assert engine.state.takeovers[MAIL].target == "alpha"


def test_an_operator_s_move_ends_the_pause() -> None:
    engine = Engine()
    engine.ports("beta", False)
    engine.probe("alpha", RELAY, Verdict.HEALTHY).rules_installed()
    engine.ports("beta", True).probe("beta", RELAY, Verdict.HEALTHY)
    assert RELAY in engine.state.hold_downs
    assert engine.request(RequestKind.FAILBACK, RELAY, None).accepted
    engine.rules_installed().ports("beta", False)
    assert engine.state.takeovers[RELAY].target == "alpha"


# Who comes back.


def test_a_fenced_server_stays_fenced_until_a_new_boot(engine: Engine) -> None:
    engine.ports("alpha", False).silent().stored().power()
    engine.agent("alpha", Holding.HELD, 3, boot="b1")
    assert "alpha" in engine.state.fenced
    engine.agent("alpha", Holding.NOTHING, 3, boot="b2")
    assert "alpha" not in engine.state.fenced


def test_who_holds_what_is_anothers_is_asked_to_release(engine: Engine) -> None:
    engine.agent("beta", Holding.HELD, 2)
    asked = engine.asked(Verb.RELEASE)[-1]
    assert (asked.server, asked.epoch) == ("beta", 3)


def test_an_agent_that_returns_with_its_role_just_goes_on(engine: Engine) -> None:
    engine.tell(AgentLost("alpha")).agent("alpha", Holding.HELD, 3)
    assert not engine.state.takeovers
    assert not engine.all(AskAgent)


@pytest.mark.reported("B1")
def test_a_rebooted_owner_gets_its_role_again_when_its_lease_has_ended(engine: Engine) -> None:
    engine.probe("alpha", MAIL, Verdict.READY).agent("alpha", Holding.NOTHING, 3, boot="b2")
    engine.wait(0.25).stored().wait(4.0)
    assert not engine.asked(Verb.ASSUME)
    engine.wait(0.5)
    asked = engine.asked(Verb.ASSUME)[-1]
    assert (asked.server, asked.epoch) == ("alpha", 4)


def test_a_lost_store_is_no_reason_to_move() -> None:
    site = make_site()
    state = initial(site, {}, 0.0)
    connected = AgentConnected("alpha", "b1", (Held(MAIL, Holding.HELD, 7),))
    state, _ = decide(state, connected, 1.0)
    assert (state.placements[MAIL].server, state.placements[MAIL].epoch) == ("alpha", 7)
    assert MAIL not in state.takeovers


# A cold start: nothing was ever placed, and the preferred server is not there yet.


def cold_start() -> Engine:
    engine = Engine(epoch=0)
    engine.state = initial(engine.site, {}, engine.now)
    engine.effects.clear()
    for switch in engine.site.network.switches:
        engine.tell(SwitchConnected(switch, UP))
    return engine.agent("beta", epoch=0).probe("beta", MAIL, Verdict.READY)


def test_a_role_that_was_never_placed_waits_for_its_preferred_server() -> None:
    engine = cold_start().wait(PATIENCE - 0.1)
    assert engine.step() is None
    assert Obstacle(Reason.AWAITS_PREFERRED, "alpha") in engine.state.waiting[MAIL]
    engine.agent("alpha", epoch=0).probe("alpha", MAIL, Verdict.READY)
    assert engine.state.takeovers[MAIL].target == "alpha"


def test_a_preferred_server_that_does_not_come_is_not_waited_for_longer() -> None:
    engine = cold_start().wait(PATIENCE)
    assert engine.state.takeovers[MAIL].target == "beta"


def test_the_engine_asks_to_be_woken_when_the_wait_for_the_preferred_server_ends() -> None:
    engine = cold_start()
    assert engine.last(Wake).at == engine.now + PATIENCE


def test_a_role_that_was_placed_before_waits_for_nobody(engine: Engine) -> None:
    engine.state = initial(engine.site, {MAIL: ("alpha", 3)}, engine.now)
    for switch in engine.site.network.switches:
        engine.tell(SwitchConnected(switch, UP))
    engine.agent("beta").probe("beta", MAIL, Verdict.READY)
    engine.ports("alpha", False)
    assert engine.state.takeovers[MAIL].target == "beta"


# Leases.


def test_an_owner_whose_lease_has_ended_is_dead_and_gets_its_role_again(engine: Engine) -> None:
    engine.wait(5.0).stored()
    assert engine.state.takeovers[MAIL].cause == "not_held"
    assert engine.asked(Verb.ASSUME)[-1].server == "alpha"


def test_a_lease_is_granted_to_the_placement_only(engine: Engine) -> None:
    engine.tell(LeaseAsked("a", "alpha", MAIL, 3), LeaseAsked("b", "beta", MAIL, 3))
    engine.tell(LeaseAsked("c", "alpha", MAIL, 2), LeaseAsked("d", "alpha", "nonsense", 3))
    granted = [(grant.request, grant.granted) for grant in engine.all(GrantLease)]
    assert granted == [("a", True), ("b", False), ("c", False), ("d", False)]


def test_no_lease_is_renewed_once_the_role_is_being_taken_away(engine: Engine) -> None:
    engine.probe("alpha", MAIL, Verdict.UNHEALTHY, "refused").stored()
    engine.tell(LeaseAsked("l", "alpha", MAIL, 3))
    assert not engine.last(GrantLease).granted


def test_taking_a_role_again_does_not_shorten_a_lease_already_granted() -> None:
    engine = Engine(make_site(power=False))
    engine.tell(LeaseAsked("l", "alpha", MAIL, 3))
    granted = engine.state.holders[MAIL]["alpha"].expires
    engine.request(RequestKind.FAILOVER, MAIL, "beta")
    engine.stored().answer(Verb.RELEASE, Outcome.FAILED).stored()
    now = engine.state.holders[MAIL]["alpha"].expires
    assert engine.asked(Verb.ASSUME)[-1].server == "alpha"
    assert now is not None
    assert granted is not None
    assert now >= granted


# Roles that own nothing.


def test_a_role_without_resources_moves_without_fence_or_agent_or_disk(engine: Engine) -> None:
    engine.probe("beta", RELAY, Verdict.UNHEALTHY, "refused")
    assert engine.step(RELAY) is Step.STEER
    assert engine.state.placements[RELAY].server == "alpha"
    assert not engine.all(AskAgent)
    assert not engine.all(FencePower)
    assert not engine.all(StorePlacement)


def test_a_switch_may_move_a_role_without_resources_by_itself(engine: Engine) -> None:
    assert engine.order(RELAY, "outer") == ["beta-outer0", "alpha-outer0"]
    assert engine.speakers(RELAY) == {"alpha", "beta"}
    assert engine.order(MAIL, "outer") == ["alpha-outer0"]
    assert engine.speakers(MAIL) == {"alpha"}


def test_a_standby_without_resources_must_be_healthy_not_only_ready(engine: Engine) -> None:
    engine.probe("alpha", RELAY, Verdict.READY)
    assert obstacles(engine.state, RELAY, "alpha") == (Obstacle(Reason.SERVICE_UNHEALTHY, "smtp"),)
    assert obstacles(engine.state, MAIL, "beta") == ()


# Requests.


@pytest.mark.parametrize(
    ("role", "target", "reason"),
    [
        ("nonsense", "beta", Reason.UNKNOWN_ROLE),
        (MAIL, "nonsense", Reason.UNKNOWN_SERVER),
        (MAIL, "alpha", Reason.ALREADY_THERE),
    ],
)
def test_a_wrong_request_is_refused(engine: Engine, role: str, target: str, reason: Reason) -> None:
    answer = engine.request(RequestKind.FAILOVER, role, target)
    assert not answer.accepted
    assert answer.obstacles[0].reason is reason
    assert not engine.state.takeovers


def test_a_request_to_a_server_with_obstacles_is_refused_with_all_of_them(engine: Engine) -> None:
    engine.tell(AgentLost("beta")).ports("beta", False, "outer")
    answer = engine.request(RequestKind.FAILOVER, MAIL, "beta")
    assert {o.reason for o in answer.obstacles} == {
        Reason.AGENT_NOT_CONNECTED,
        Reason.NO_LIVE_INTERFACE,
    }


def test_a_second_request_for_a_role_is_refused(engine: Engine) -> None:
    engine.request(RequestKind.FAILOVER, MAIL, None)
    assert engine.request(RequestKind.FAILOVER, MAIL, None).obstacles[0].reason is Reason.BUSY


def test_a_dry_run_says_the_steps_and_does_nothing(engine: Engine) -> None:
    answer = engine.request(RequestKind.FAILOVER, MAIL, None, dry=True)
    assert answer.steps == ("store", "fence", "assume", "serve", "steer")
    assert (answer.accepted, answer.epoch) == (True, 4)
    assert not engine.state.takeovers
    assert not engine.all(StorePlacement)


def test_a_planned_move_never_cuts_the_power_of_a_server_that_is_well(engine: Engine) -> None:
    engine.request(RequestKind.FAILOVER, MAIL, "beta")
    engine.stored().answer(Verb.RELEASE, Outcome.FAILED)
    assert not engine.all(FencePower)
    assert engine.last(StorePlacement).server == "alpha"
    engine.stored()
    assert engine.asked(Verb.ASSUME)[-1].server == "alpha"


def test_a_failback_goes_to_the_preferred_server(engine: Engine) -> None:
    engine.request(RequestKind.FAILOVER, RELAY, "alpha")
    engine.rules_installed()
    assert engine.request(RequestKind.FAILBACK, RELAY, None).accepted
    assert engine.state.takeovers[RELAY].target == "beta"


def test_an_automatic_failback_waits_until_the_server_has_been_well_for_long() -> None:
    engine = Engine(make_site(failback="automatic"))
    engine.request(RequestKind.FAILOVER, RELAY, "alpha")
    engine.rules_installed()
    engine.wait(engine.site.timers.failback_hold - 0.1)
    assert engine.step(RELAY) is None
    engine.wait(0.1)
    assert engine.state.takeovers[RELAY].target == "beta"


def test_disabling_a_server_moves_its_roles_away_as_planned(engine: Engine) -> None:
    engine.request(RequestKind.DISABLE, "", "alpha")
    assert engine.state.takeovers[MAIL].planned
    engine.stored().answer(Verb.RELEASE, Outcome.FAILED)
    assert not engine.all(FencePower)


def test_a_disabled_server_takes_nothing(engine: Engine) -> None:
    engine.request(RequestKind.DISABLE, "", "beta")
    engine.ports("alpha", False, "outer").wait(10.0)
    assert MAIL not in engine.state.takeovers
    assert Obstacle(Reason.SERVER_DISABLED, "beta") in engine.state.waiting[MAIL]


# The version of the rules.


def test_the_version_grows_only_with_what_the_rules_depend_on(engine: Engine) -> None:
    version = engine.state.version
    engine.tell(LeaseAsked("l", "alpha", MAIL, 3), AgentLost("beta"), Tick())
    engine.probe("beta", MAIL, Verdict.UNHEALTHY, "timeout")
    assert engine.state.version == version
    card = engine.site.network.interfaces["beta-inner1"]
    engine.tell(PortChanged(card.attachment, False))
    assert engine.state.version == version + 1
    assert engine.state.outlook.ports_up["inner"] == UP - {card.attachment.port}


def test_a_fenced_servers_cards_are_closed_and_nothing_is_steered_there(engine: Engine) -> None:
    engine.ports("alpha", False).silent().stored().power()
    wanted = intents(engine.site, engine.state.outlook)
    assert {fence.interface for fence in wanted.fences} == {
        card.name for card in engine.site.network.servers["alpha"].interfaces
    }
    assert "alpha" not in {card.server for steer in wanted.steers for card in steer.order}
