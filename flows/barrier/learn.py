"""How switches learn by themselves where hosts are."""

from __future__ import annotations

from flows.pipeline import Table
from flows.rules import Learn

#: Learnt hosts are forgotten after this many seconds without a packet to them (IEEE 802.1D's
#: default ageing time).
AGEING = 300


def learn(cookie: int, table: Table) -> Learn:
    """From now on `table` sends what is for this packet's sender to where it came in. `cookie`:
    that of what is learnt."""
    return Learn(table.number, priority=1, idle_timeout=AGEING, hard_timeout=0, cookie=cookie)
