"""keepalived's checker in the race: asks the greeter beside it every 10 ms, and writes what it
found into the file that keepalived watches (`track_file`): 0, or 1 where there was no greeting.

    python -m mininet_lab.race.checker FILE
"""

from __future__ import annotations

import os
import select
import socket
import sys
import time
from pathlib import Path

from mininet_lab.race.greeter import PORT

INTERVAL = 0.01

#: Seconds until who is silent counts as hanging: the greatest pause of a greeter that was only kept
#: from running, by two busy cores, was below.
PATIENCE = 0.05

#: Of SCHED_FIFO.
_PRIORITY = 20


def greets() -> bool:
    """Does somebody greet here, in time?"""
    with socket.socket() as connection:
        connection.settimeout(PATIENCE)
        try:
            connection.connect(("127.0.0.1", PORT))
            return bool(select.select([connection], [], [], PATIENCE)[0] and connection.recv(512))
        except OSError:
            return False


def main(told: Path) -> None:
    os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(_PRIORITY))
    was = None
    while True:
        if (now := greets()) != was:
            told.write_text(f"{int(not now)}\n")
            was = now
        time.sleep(INTERVAL)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
