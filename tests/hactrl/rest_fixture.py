"""A controller without switches: the real engine, store and REST, on a clock that tests hold."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread
from types import SimpleNamespace
from wsgiref.simple_server import WSGIRequestHandler, make_server

from prometheus_client import CollectorRegistry

from hactrl.engine.decide import decide, initial
from hactrl.engine.effects import AnswerRequest, Record, Remember
from hactrl.engine.events import (
    AgentConnected,
    Event,
    Held,
    ProbeChanged,
    Remembered,
    Requested,
    RulesInstalled,
    SwitchConnected,
)
from hactrl.engine.state import State
from hactrl.explain.offline import rule_sets, rule_sets_of
from hactrl.rest import Api
from hactrl.site import load
from hactrl.site.model import Site
from hactrl.store.store import Entry
from hactrl.vocabulary import Holding, Outcome, Verdict

EXAMPLE = Path(__file__).parents[2] / "examples" / "frontier.yaml"
SITE = load(EXAMPLE)
CAMPUS = load(EXAMPLE.with_name("campus.yaml"))
RULE_SETS = rule_sets(SITE)
TOKEN = "the operator's own token"


class Controller:
    """`now` is the clock. Answers come at once, unless `silent`: then the engine gives none."""

    def __init__(self, site: Site = SITE) -> None:
        self.site = site
        stored = {name: (role.servers[0], 3) for name, role in self.site.roles.items()}
        self.now = 100.0
        self.silent = self.looking_round = False
        self.journal: list[Entry] = []
        self.state: State = initial(self.site, stored, self.now)
        self.rule_sets = RULE_SETS if site is SITE else rule_sets(site)
        self.api = Api(
            snapshot=lambda: (self.state, self.now),
            submit=self.submit,
            history=self.history,
            tables=lambda: self.rule_sets,
            token=TOKEN,
            counters=lambda: {"o1": SimpleNamespace(changes=4, refusals=1, drifts=0, readings=2)},
            looking_round=lambda: self.looking_round,
            notice=self.tell,
            registry=CollectorRegistry(),
        )

    def hold_what_is_wanted(self) -> None:
        """The rules are what the state asks for now."""
        self.rule_sets = rule_sets_of(self.state)

    def tell(self, *events: Event) -> list[AnswerRequest]:
        answers = []
        todo = list(events)
        while todo:
            self.state, effects = decide(self.state, todo.pop(0), self.now)
            for effect in effects:
                if isinstance(effect, AnswerRequest):
                    answers.append(effect)
                elif isinstance(effect, Remember):
                    todo.append(Remembered(effect.operation, Outcome.DONE))
                elif isinstance(effect, Record):
                    self.api.happenings.observe(effect)
                    number = len(self.journal) + 1
                    details = dict(effect.details)
                    self.journal.append(Entry(number, 1e9, effect.kind, effect.role, details))
        return answers

    def submit(self, request: Requested) -> AnswerRequest:
        if self.silent:
            raise TimeoutError
        return self.tell(request)[0]

    def history(
        self, role: str | None = None, before: int | None = None, limit: int = 100
    ) -> list[Entry]:
        found = [
            entry
            for entry in reversed(self.journal)
            if (role is None or entry.role == role) and (before is None or entry.number < before)
        ]
        return found[:limit]

    def everything_up(self) -> None:
        """Switches, agents and probes report a site in normal state."""
        network = self.site.network
        for switch in network.switches:
            self.tell(SwitchConnected(switch, frozenset(range(1, 25))))
        for server in network.servers:
            owned = [r.name for r in self.site.roles.values() if r.needs_fence]
            held = tuple(
                Held(r, Holding.HELD, 3) for r in owned if self.site.roles[r].servers[0] == server
            )
            self.tell(AgentConnected(server, "boot-1", held))
        for role in self.site.roles.values():
            for service in role.services:
                for card in network.interfaces.values():
                    if card.segment == service.segment:
                        standby = role.needs_fence and card.server != role.servers[0]
                        verdict = Verdict.READY if standby else Verdict.HEALTHY
                        self.tell(ProbeChanged(role.name, service.name, card.name, verdict))
        self.confirm_rules()

    def confirm_rules(self) -> None:
        for switch in self.site.network.switches:
            self.tell(RulesInstalled(frozenset({switch}), self.state.version))


class _Quiet(WSGIRequestHandler):
    def log_message(self, *_arguments: object) -> None:
        """Tests read answers, not logs."""


@contextmanager
def served(controller: Controller) -> Iterator[str]:
    """The controller's REST on a port of its own; gives its URL."""
    with make_server("127.0.0.1", 0, controller.api, handler_class=_Quiet) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()
