"""What switches count becomes what the engine is told: interval by interval, by names and ways."""

from __future__ import annotations

from dataclasses import replace

import pytest
from campus_network import campus, intents, site_of

from flows.backbone.locators import Locators
from flows.planner import Planner
from hactrl.engine.decide import initial
from hactrl.engine.events import AnswersCounted, AnswerWays, Event
from hactrl.outlets.reply_counts import AnswerCounter, since
from topology.graph import LiveGraph

NETWORK = campus([("a", "b"), ("b", "c"), ("c", "d")], ["a", "a", "d"])
CARDS = NETWORK.file_servers["files"].interfaces
LOCATORS = Locators.of(NETWORK)


class Bench:
    """Counters whose switches are all connected, but those in `away`."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.away: set[str] = set()
        self.events: list[Event] = []
        self.planner = Planner()
        self.planner.follow(LiveGraph.of(NETWORK), intents(NETWORK, CARDS))
        state = initial(site_of(NETWORK), {}, 0.0)
        self.answers = AnswerCounter(self, lambda: state, self.planner, self.post)

    def count_answers(self, switch: str) -> None:
        if switch not in self.away:
            self.asked.append(switch)

    def post(self, event: Event) -> None:
        self.events.append(event)

    def told(self) -> list[AnswerWays]:
        """What the engine has been told since this was called last."""
        self.answers.tell()
        events, self.events = self.events, []
        assert all(isinstance(event, AnswersCounted) for event in events)
        return [way for event in events for way in getattr(event, "ways", ())]

    def counted(self, switch: str, **bytes_to: int) -> None:
        """The interface at the switch's port 2 has sent so much, ever, to these switches."""
        prefixes = {LOCATORS.prefix(to)[0]: count for to, count in bytes_to.items()}
        self.answers.counted(switch, {(2, to): count for to, count in prefixes.items()})


@pytest.fixture
def bench() -> Bench:
    return Bench()


def test_connected_switches_with_interfaces_are_asked(bench: Bench) -> None:
    bench.answers.ask()
    assert bench.asked == ["a", "d"]
    bench.away.add("a")
    bench.answers.ask()
    assert bench.asked == ["a", "d", "d"]


def test_what_was_counted_before_the_first_time_says_nothing(bench: Bench) -> None:
    bench.counted("a", b=1000)
    assert bench.told() == []


def test_what_nearest_interfaces_send_takes_the_short_way(bench: Bench) -> None:
    bench.counted("a", a=5, b=10, d=0)
    bench.counted("a", a=15, b=1010, d=0)
    assert bench.told() == [AnswerWays("a", 10), AnswerWays("b", 1000)]


def test_what_others_send_takes_a_roundabout_way(bench: Bench) -> None:
    for total in (0, 700):
        bench.counted("a", c=total)
        bench.counted("d", c=total // 7)
    assert bench.told() == [AnswerWays("c", 100, 700, ("a-2",))]


def test_each_interval_is_told_once(bench: Bench) -> None:
    for total in (0, 10):
        bench.counted("a", b=total)
    assert bench.told() == [AnswerWays("b", 10)]
    assert bench.told() == []
    bench.counted("a", b=30)
    assert bench.told() == [AnswerWays("b", 20)]


def test_an_interval_in_which_ways_have_changed_says_nothing(bench: Bench) -> None:
    bench.counted("a", c=0)
    bench.planner.follow(LiveGraph.of(NETWORK), intents(NETWORK, CARDS[:1]))
    bench.counted("a", c=500)
    assert bench.told() == []
    bench.counted("a", c=600)
    assert bench.told() == [AnswerWays("c", 100)]
    bench.counted("a", c=700)
    bench.planner.follow(LiveGraph.of(NETWORK), intents(NETWORK, CARDS))
    assert bench.told() == []


def test_hosts_that_are_learnt_end_no_interval(bench: Bench) -> None:
    bench.counted("a", b=0)
    fewer = replace(intents(NETWORK, CARDS), hosts=())
    bench.planner.follow(LiveGraph.of(NETWORK), fewer)
    bench.counted("a", b=10)
    assert bench.told() == [AnswerWays("b", 10)]


def test_a_rule_that_was_made_anew_begins_at_zero() -> None:
    before = {(2, 1): 100, (2, 2): 50}
    assert since(before, {(2, 1): 130, (2, 2): 20, (2, 3): 7}) == {
        (2, 1): 30,
        (2, 2): 20,
        (2, 3): 7,
    }


def test_what_has_no_name_any_more_is_left_out(bench: Bench) -> None:
    for total in (0, 10):
        bench.answers.counted("a", {(7, LOCATORS.prefix("b")[0]): total, (2, 0x0B << 40): total})
    assert bench.told() == []
