"""docs/threats.md tells what is so: its numbers, and what is left to operators.

What is left is tested too, so that whoever mends it learns that the page must say so.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from simulation import MAIL, make_site
from test_engine_decide import UP, Engine

from hactrl.engine import doubts
from hactrl.engine.effects import FencePower, GrantLease, Verb
from hactrl.engine.events import (
    AgentLost,
    AgentReported,
    Held,
    LeaseAsked,
    RequestKind,
    SwitchConnected,
    SwitchLost,
)
from hactrl.listeners import REST, rooms
from hactrl.outlets import agent_connection, agent_server
from hactrl.rest import budget
from hactrl.switches import connections
from hactrl.vocabulary import Holding, Outcome, Proof, Verdict

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "threats.md").read_text(encoding="utf-8")
DOCUMENTS = [*ROOT.glob("docs/*.md"), *ROOT.glob("*.md")]

NUMBERS = [
    (
        "as long as it answers within {:g} s (`hactrl/outlets/agent_server.py`)",
        agent_connection.PING_TIMEOUT,
    ),
    ("as long as it answers an echo within {:g} s", connections.ECHO_DEADLINE),
    ("is doubted for {:g} s", doubts.PROBATION),
    ("has {:g} s for a hello", agent_server.HELLO_TIMEOUT),
    ("does not answer within {:g} ms", 1000 * agent_server.PING_PATIENCE),
    ("or within {:g} ms after another server's", 1000 * agent_server.BESIDE_PATIENCE),
    ("{:g} messages a second", agent_connection.RATE),
    ("{:g} at once", agent_connection.BURST),
    ("and {:g} connections", rooms(make_site())[REST].most_of_one),
    ("held off for {:g} to", connections.FIRST_PAUSE),
    ("to {:g} s, by address", connections.LONGEST_PAUSE),
]


@pytest.mark.parametrize(("said", "number"), NUMBERS)
def test_a_number_on_the_page_is_that_of_the_code(said: str, number: float) -> None:
    assert said.format(number) in PAGE


def test_requests_that_one_address_has_worked_on_are_told_in_words() -> None:
    assert budget.WORKING == 4
    assert "four requests worked on at a time" in PAGE


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_link_between_documents_leads_somewhere(document: Path) -> None:
    for target in re.findall(r"\]\(([^)]+)\)", document.read_text(encoding="utf-8")):
        if "://" not in target:
            name, _, anchor = target.partition("#")
            found = document.parent / name if name else document
            assert found.exists(), target
            assert not anchor or anchor in anchors(found), target


def anchors(document: Path) -> set[str]:
    """Of a document's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", document.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


# What is left.


def test_a_rogue_candidate_gets_no_role_that_has_been_served() -> None:
    engine = Engine().tell(LeaseAsked("l", "alpha", MAIL, 3), AgentLost("alpha"))
    engine.tell(AgentReported("beta", Held(MAIL, Holding.HELD, 9)))
    assert engine.state.placements[MAIL].server == "alpha"
    assert engine.tell(LeaseAsked("l", "alpha", MAIL, 3)).last(GrantLease).granted


def test_a_token_s_thief_with_the_same_boot_id_can_say_that_the_owner_has_let_go() -> None:
    engine = Engine(make_site(power=False)).tell(AgentLost("alpha"))
    engine.agent("alpha", Holding.HELD, 3, boot="b1")
    engine.tell(AgentReported("alpha", Held(MAIL, Holding.NOTHING, 3)))
    assert engine.state.holders[MAIL]["alpha"].proof is Proof.RELEASED


def test_a_person_s_lie_is_believed_while_the_agent_is_away_and_no_lease_runs() -> None:
    engine = Engine(make_site(lease=None)).tell(AgentLost("alpha"))
    assert engine.request(RequestKind.CONFIRM_OFF, "", "alpha").accepted


def test_a_prober_with_a_release_that_fails_has_power_cut() -> None:
    engine = Engine(make_site(lease=None)).probe("alpha", MAIL, Verdict.UNHEALTHY, "timeout")
    engine.wait(0.3).stored()
    assert not engine.all(FencePower)
    engine.answer(Verb.RELEASE, Outcome.FAILED)
    assert engine.last(FencePower).server == "alpha"


def test_whoever_connects_as_a_switch_that_had_left_moves_roles_at_once() -> None:
    engine = Engine()
    cards = engine.site.network.servers["alpha"].interfaces
    down = {card.attachment.port for card in cards if card.segment == "inner"}
    engine.tell(SwitchLost("inner"), SwitchConnected("inner", UP - down))
    assert engine.state.takeovers[MAIL].origin == "alpha"
