"""From what single probes find to a verdict that may move a role. Pure.

One probe asks every address family of a target and its answers become one `Finding`
(`combine`). Findings in a row change the verdict (`judge`):

- `rise` findings in a row that are better than the verdict make it better: as good as the least
  of them;
- `fall` findings in a row that are worse make it worse: as bad as the last of them;
- a refusal needs no second one. A refused connection is an answer: nobody listens there.

Probes overlap, because a silent target is asked again before the first question has timed out.
So findings are numbered in the order in which their probes began, and one that began before the
newest that has been judged is out of date and changes nothing.

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
    """What one probe found. `family` is 'ipv4' or 'ipv6' if the other family did better; `said`
    the line that was not the wanted one."""

    cause: Cause
    family: str = ""
    said: str = ""

    @property
    def verdict(self) -> Verdict:
        return VERDICT_OF.get(self.cause, Verdict.UNHEALTHY)

    @property
    def reason(self) -> str:
        """For `ProbeChanged`: a cause, and perhaps the family, as in `refused_ipv6`."""
        return f"{self.cause}_{self.family}" if self.family else str(self.cause)


def combine(findings: Sequence[Finding], families: int) -> Finding:
    """The worst of one probe's findings, one for each address family that has answered.

    `families` is how many were asked. The finding names its family, unless all found the same.
    """
    worst = min(findings, key=lambda finding: RANK[finding.verdict])
    alike = len(findings) == families and len({finding.cause for finding in findings}) == 1
    return replace(worst, family="") if alike else worst


@dataclass(frozen=True)
class Judgement:
    """A target's verdict and what speaks for another one.

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
        return self.reason if self.slow is None else self.slow.reason

    @property
    def told(self) -> tuple[Verdict, str, str]:
        """What a change of is worth telling. Of what was said only the first word, which is the
        reply's code: the rest may hold the time of day."""
        return (self.verdict, self.reason_told, self.said.partition(" ")[0])


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
        finding.reason,
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
