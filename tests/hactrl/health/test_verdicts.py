"""From findings to verdicts."""

from __future__ import annotations

from functools import reduce

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hactrl.health.verdicts import (
    RANK,
    Cause,
    Conclusion,
    Finding,
    Judgement,
    conclude,
    judge,
    waited,
)
from hactrl.vocabulary import Verdict

RISE, FALL = 2, 3
GOOD = Finding(Cause.NONE)
READY = Finding(Cause.TEMPORARY)
SILENT = Finding(Cause.TIMEOUT)
REFUSED = Finding(Cause.REFUSED)
BLIND = Finding(Cause.LOCAL_FAULT)

findings = st.sampled_from(Cause).map(Finding)
several = st.lists(findings, max_size=20)
counts = st.integers(1, 5)


def after(*sequence: Finding, rise: int = RISE, fall: int = FALL) -> Judgement:
    numbered = enumerate(sequence, start=1)
    return reduce(lambda j, n: judge(j, n[1], n[0], rise, fall), numbered, Judgement())


HEALTHY = (GOOD, GOOD)


@pytest.mark.parametrize(
    ("sequence", "verdict"),
    [
        ((), Verdict.UNKNOWN),
        ((GOOD,), Verdict.UNKNOWN),
        ((GOOD, GOOD), Verdict.HEALTHY),
        ((READY, READY), Verdict.READY),
        ((GOOD, READY), Verdict.READY),
        ((GOOD, SILENT, GOOD), Verdict.UNKNOWN),
        ((SILENT, SILENT, SILENT), Verdict.UNHEALTHY),
        ((*HEALTHY, SILENT, SILENT), Verdict.HEALTHY),
        ((*HEALTHY, SILENT, SILENT, SILENT), Verdict.UNHEALTHY),
        ((*HEALTHY, SILENT, SILENT, GOOD, SILENT, SILENT), Verdict.HEALTHY),
        ((*HEALTHY, READY, READY), Verdict.HEALTHY),
        ((*HEALTHY, READY, READY, READY), Verdict.READY),
        ((*HEALTHY, READY, SILENT, READY), Verdict.READY),
        ((REFUSED,), Verdict.UNHEALTHY),
        ((*HEALTHY, REFUSED), Verdict.UNHEALTHY),
        ((READY, READY, GOOD), Verdict.READY),
        ((READY, READY, GOOD, GOOD), Verdict.HEALTHY),
        ((REFUSED, READY, GOOD), Verdict.READY),
        ((*HEALTHY, BLIND, BLIND, BLIND), Verdict.UNKNOWN),
    ],
)
def test_verdict_after_findings(sequence: tuple[Finding, ...], verdict: Verdict) -> None:
    assert after(*sequence).verdict is verdict


def test_the_reason_is_that_of_the_last_finding() -> None:
    assert after(REFUSED).reason == "refused"
    assert after(REFUSED, SILENT).reason == "timeout"
    assert after(*HEALTHY).reason == ""


def test_a_probe_that_began_before_the_newest_one_judged_changes_nothing() -> None:
    newest = judge(after(*HEALTHY), GOOD, 9, RISE, FALL)
    assert judge(newest, REFUSED, 8, RISE, FALL) == newest
    assert judge(newest, REFUSED, 10, RISE, FALL).verdict is Verdict.UNHEALTHY


@given(several, findings, counts, counts)
def test_enough_of_one_finding_always_brings_its_verdict(
    before: list[Finding], finding: Finding, rise: int, fall: int
) -> None:
    settled = after(*before, *[finding] * 2 * max(rise, fall), rise=rise, fall=fall)
    assert settled.verdict is finding.verdict


@given(several, counts, counts)
def test_a_verdict_gets_better_only_after_as_many_findings_that_good(
    before: list[Finding], rise: int, fall: int
) -> None:
    earlier = after(*before[:-1], rise=rise, fall=fall)
    now = after(*before, rise=rise, fall=fall)
    if RANK[now.verdict] > RANK[earlier.verdict]:
        last = before[-rise:]
        assert len(last) == rise
        assert min(RANK[f.verdict] for f in last) == RANK[now.verdict]


@given(several, counts, counts)
def test_a_verdict_gets_worse_only_after_enough_worse_findings_or_a_refusal(
    before: list[Finding], rise: int, fall: int
) -> None:
    earlier = after(*before[:-1], rise=rise, fall=fall)
    now = after(*before, rise=rise, fall=fall)
    if RANK[now.verdict] < RANK[earlier.verdict] and before[-1] != REFUSED:
        last = before[-fall:]
        assert len(last) == fall
        assert all(RANK[f.verdict] < RANK[earlier.verdict] for f in last)


@pytest.mark.reported("A1")
class TestPatience:
    """What a patient dialogue adds to a verdict for timeouts."""

    SLOW = Finding(Cause.SLOW)
    DEAD = after(SILENT, SILENT, SILENT)

    def test_who_answers_late_is_slow_and_as_unhealthy_as_before(self) -> None:
        late = waited(self.DEAD, self.SLOW)
        assert (late.verdict, late.reason_told) == (Verdict.UNHEALTHY, "slow")

    def test_stays_slow_while_probes_time_out(self) -> None:
        slow = waited(self.DEAD, self.SLOW)
        assert judge(slow, SILENT, 9, RISE, FALL).reason_told == "slow"

    @pytest.mark.parametrize("cause", [Cause.TIMEOUT, Cause.CLOSED, Cause.TEMPORARY])
    def test_a_patient_dialogue_that_fails_ends_it(self, cause: Cause) -> None:
        slow = waited(self.DEAD, self.SLOW)
        assert waited(slow, Finding(cause)).reason_told == "timeout"

    @pytest.mark.parametrize("cause", [Cause.NONE, Cause.LOCAL_FAULT])
    def test_what_says_nothing_of_the_target_changes_nothing(self, cause: Cause) -> None:
        slow = waited(self.DEAD, self.SLOW)
        assert waited(slow, Finding(cause)) == slow
        assert waited(self.DEAD, Finding(cause)) == self.DEAD

    def test_another_failure_ends_it(self) -> None:
        slow = waited(self.DEAD, self.SLOW)
        assert judge(slow, REFUSED, 9, RISE, FALL).reason_told == "refused"
        again = judge(judge(slow, REFUSED, 9, RISE, FALL), SILENT, 10, RISE, FALL)
        assert again.reason_told == "timeout"

    def test_another_verdict_ends_it(self) -> None:
        slow = waited(self.DEAD, self.SLOW)
        well = judge(judge(slow, GOOD, 9, RISE, FALL), GOOD, 10, RISE, FALL)
        assert (well.verdict, well.reason_told) == (Verdict.HEALTHY, "")

    @pytest.mark.parametrize("before", [Judgement(), after(*HEALTHY), after(REFUSED)])
    def test_only_who_is_unhealthy_for_timeouts_can_be_slow(self, before: Judgement) -> None:
        assert waited(before, self.SLOW) == before

    @given(several, findings)
    def test_never_changes_a_verdict(self, before: list[Finding], finding: Finding) -> None:
        assert waited(after(*before), finding).verdict is after(*before).verdict


class TestConclude:
    def test_all_ways_must_work(self) -> None:
        told = conclude([("ipv4", after(*HEALTHY)), ("ipv6", after(REFUSED))])
        assert (told.verdict, told.reason) == (Verdict.UNHEALTHY, "refused_ipv6")

    def test_families_that_fail_alike_are_not_named(self) -> None:
        silent = after(*HEALTHY, SILENT, SILENT, SILENT)
        assert conclude([("ipv4", silent), ("ipv6", silent)]).reason == "timeout"

    def test_a_family_of_which_nothing_is_known_yet_leaves_the_other_named(self) -> None:
        assert conclude([("ipv4", after(REFUSED)), ("ipv6", after())]).reason == "refused_ipv4"

    def test_a_single_family_is_not_named(self) -> None:
        assert conclude([("ipv4", after(REFUSED))]).reason == "refused"

    def test_what_is_well_one_way_and_unknown_another_is_unknown_without_a_reason(self) -> None:
        told = conclude([("ipv4", after(*HEALTHY)), ("ipv6", after())])
        assert told == Conclusion(Verdict.UNKNOWN)

    def test_one_family_ready_and_one_healthy_is_ready(self) -> None:
        told = conclude([("ipv4", after(READY, READY)), ("ipv6", after(*HEALTHY))])
        assert (told.verdict, told.reason) == (Verdict.READY, "temporary_ipv4")

    def test_who_is_slow_over_one_family_is_slow_there(self) -> None:
        slow = waited(after(*HEALTHY, SILENT, SILENT, SILENT), Finding(Cause.SLOW))
        told = conclude([("ipv4", slow), ("ipv6", after(*HEALTHY))])
        assert (told.verdict, told.reason) == (Verdict.UNHEALTHY, "slow_ipv4")

    @given(st.lists(several, min_size=1, max_size=4))
    def test_no_way_is_worse_than_what_is_told(self, ways: list[list[Finding]]) -> None:
        judged = [after(*way) for way in ways]
        told = conclude([("ipv4", judgement) for judgement in judged])
        assert RANK[told.verdict] == min(RANK[judgement.verdict] for judgement in judged)
