"""From what single probes find to a verdict that may move a role. Pure.

One probe goes one way to a target, over one address family, and what it finds is a `Finding`.
Findings in a row change the verdict on that way (`judge`):

- `rise` findings in a row that are better than the verdict make it better: as good as the least
  of them;
- `fall` findings in a row that are worse make it worse: as bad as the last of them;
- a refusal needs no second one. A refused connection is an answer: nobody listens there.

Probes overlap, because a silent target is asked again before the first question has timed out.
So findings are numbered in the order in which their probes began, and one that began before the
newest that has been judged is out of date and changes nothing.

A target is as well as the worst of its ways (`conclude`).

Who is silent may only be slow. While a verdict is for timeouts, a patient dialogue beside the
probes says which (`waited`). It changes the reason, and never the verdict.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from hactrl.vocabulary import RANK, Verdict


class Cause(StrEnum):
    """Why a probe found what it found; NONE for a good answer. SLOW is a good one that came
    after the probe's timeout, and only a patient dialogue finds it. SILENT is whose kernel did not
    answer while others did (`syn`), HANGS who said nothing while others did (`hanging`), TIMEOUT
    who did not, whatever others do."""

    NONE = ""
    TEMPORARY = "temporary"
    REFUSED = "refused"
    RESET = "reset"
    CLOSED = "closed"
    TIMEOUT = "timeout"
    SILENT = "silent"
    HANGS = "hangs"
    SLOW = "slow"
    UNREACHABLE = "unreachable"
    BAD_GREETING = "bad_greeting"
    BAD_ANSWER = "bad_answer"
    NO_ADDRESS = "no_address"
    NO_CARD = "no_card"
    LOCAL_FAULT = "local_fault"


VERDICT_OF = {Cause.NONE: Verdict.HEALTHY, Cause.TEMPORARY: Verdict.READY} | dict.fromkeys(
    # A prober without its address or its network card has learnt nothing about the target.
    (Cause.NO_ADDRESS, Cause.NO_CARD, Cause.LOCAL_FAULT),
    Verdict.UNKNOWN,
)


@dataclass(frozen=True)
class Finding:
    """What one probe found; `said` is the line that was not the wanted one."""

    cause: Cause
    said: str = ""

    @property
    def verdict(self) -> Verdict:
        return VERDICT_OF.get(self.cause, Verdict.UNHEALTHY)


@dataclass(frozen=True)
class Judgement:
    """The verdict on one way to a target, and what speaks for another one.

    `said` is the line that the reason stands for, empty where nothing was said.
    `better` or `worse` (never both) counts the findings in a row on that side of the verdict;
    `least` is the worst of the better ones. `newest` is the number of the last finding counted.
    `silent`: the verdict is for words that did not come; `slow` is what a patient dialogue found.
    """

    verdict: Verdict = Verdict.UNKNOWN
    reason: str = ""
    better: int = 0
    worse: int = 0
    least: Finding | None = None
    newest: int = 0
    said: str = ""
    silent: bool = False
    slow: Finding | None = None

    @property
    def reason_told(self) -> str:
        """That of the probes, unless a patient dialogue knows better."""
        return self.reason if self.slow is None else str(self.slow.cause)


@dataclass(frozen=True)
class Conclusion:
    """What is told of a target. The reason is a cause, and the family after it, as in
    `refused_ipv6`, if the other does better."""

    verdict: Verdict = Verdict.UNKNOWN
    reason: str = ""
    said: str = ""

    @property
    def news(self) -> tuple[Verdict, str, str]:
        """What a change of is worth telling. Of what was said only the first word, which is the
        reply's code: the rest may hold the time of day."""
        return self.verdict, self.reason, self.said.partition(" ")[0]


def conclude(ways: Sequence[tuple[str, Judgement]]) -> Conclusion:
    """Of the ways' families ('ipv4' or 'ipv6') and judgements: the worst counts."""
    family, worst = min(ways, key=lambda way: RANK[way[1].verdict])
    reason = worst.reason_told
    alike = len({(judgement.verdict, judgement.reason_told) for _, judgement in ways}) == 1
    named = reason if alike or not reason else f"{reason}_{family}"
    return Conclusion(worst.verdict, named, worst.said)


def judge(before: Judgement, finding: Finding, number: int, rise: int, fall: int) -> Judgement:
    """The judgement after the finding of the probe that began as the `number`th."""
    if number <= before.newest:
        return before
    difference = RANK[finding.verdict] - RANK[before.verdict]
    if difference > 0:
        return _rising(before, finding, number, rise)
    if difference < 0:
        return _falling(before, finding, number, fall)
    after = _because_of(finding, number)
    return replace(after, slow=before.slow) if after.silent else after


def waited(before: Judgement, finding: Finding) -> Judgement:
    """The judgement after what a patient dialogue found. A good answer in time says nothing: the
    probes see it too."""
    if not before.silent or finding.verdict in (Verdict.HEALTHY, Verdict.UNKNOWN):
        return before
    return replace(before, slow=finding if finding.cause is Cause.SLOW else None)


def _because_of(finding: Finding, number: int) -> Judgement:
    return Judgement(
        finding.verdict,
        str(finding.cause),
        newest=number,
        said=finding.said,
        silent=finding.cause in (Cause.TIMEOUT, Cause.HANGS),
    )


def _rising(before: Judgement, finding: Finding, number: int, rise: int) -> Judgement:
    seen = [finding] if before.least is None else [finding, before.least]
    least = min(seen, key=lambda candidate: RANK[candidate.verdict])
    if before.better + 1 >= rise:
        return _because_of(least, number)
    return replace(before, better=before.better + 1, worse=0, least=least, newest=number)


def _falling(before: Judgement, finding: Finding, number: int, fall: int) -> Judgement:
    if before.worse + 1 >= fall or finding.cause is Cause.REFUSED:
        return _because_of(finding, number)
    return replace(before, better=0, worse=before.worse + 1, least=None, newest=number)
