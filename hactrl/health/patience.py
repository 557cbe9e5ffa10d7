"""Tells who is only slow from who is silent, beside the ordinary probes.

While a target's verdict is for timeouts, one dialogue after another is held with it, each with
much more time than a probe has: one at a time for each address family. The probes alone decide
the verdict, so that a dead server is found out as fast as without.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from hactrl.health.dialogues import DIALOGUES, converse_patiently
from hactrl.health.targets import ProbeRoute, Target
from hactrl.health.verdicts import Cause, Finding
from hactrl.vocabulary import Verdict

PATIENCE = 30.0
"""Seconds that a patient dialogue may take. A resolver with two dead name servers and its own
defaults gives up after 20 (resolv.conf(5): 5 s, two attempts), and Postfix greets then. Clients
wait for minutes (RFC 5321 section 4.5.3.2.1: 5)."""


def can_be_slow(target: Target) -> bool:
    """Does it say anything? A connection and an echo are the kernel's, which is never slow."""
    return bool(DIALOGUES.get(target.kind))


async def keep_waiting(target: Target, tell: Callable[[Finding, float], None]) -> None:
    """Hold one patient dialogue after another until cancelled. `tell` gets each finding, and when
    its dialogue began (the loop's clock)."""
    clock = asyncio.get_running_loop().time
    while True:
        begun = clock()
        tell(await wait_for_words(target), begun)
        await asyncio.sleep(target.interval)


async def wait_for_words(target: Target) -> Finding:
    """One patient dialogue over each address family: SLOW if one is slow and the other no worse.
    The first that fails ends them all."""
    dialogues = {asyncio.ensure_future(_over(target, route)) for route in target.routes}
    findings: list[Finding] = []
    try:
        for dialogue in asyncio.as_completed(dialogues):
            finding = await dialogue
            if finding.verdict is not Verdict.HEALTHY and finding.cause is not Cause.SLOW:
                return finding
            findings.append(finding)
    finally:
        for each in dialogues:
            each.cancel()
    return next((found for found in findings if found.cause is Cause.SLOW), findings[0])


async def _over(target: Target, route: ProbeRoute) -> Finding:
    return await converse_patiently(target.kind, route, target.port, target.timeout, PATIENCE)
