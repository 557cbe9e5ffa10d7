"""New connections at a fixed rate, as a program to be run in a host's network namespace.

    python -m mininet_lab.connections --to 10.0.0.80:80 --to '[2001:db8:0:2::80]:80' \\
        --rate 200 --log connections.jsonl

Each connection is made anew, and must get a whole web page (port 80) or a greeting's line in time.
The log has a line for each: when it began and ended (CLOCK_BOOTTIME), to where, and what went
wrong.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import sys
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import TextIO

from mininet_lab.clock import now

#: Seconds. A SYN that is lost is sent again after 1 s (RFC 6298), which would hide the loss.
TIMEOUT = 0.9

_WEB = 80
_REQUEST = b"GET / HTTP/1.0\r\n\r\n"


@dataclass(frozen=True)
class Attempt:
    """`trouble` is empty when an answer came."""

    began: float
    ended: float
    target: str
    trouble: str = ""


@dataclass(frozen=True)
class Summary:
    """`longest_gap`: seconds without an answer to anybody."""

    attempts: int
    failed: int
    longest_gap: float


def read(log: Path) -> list[Attempt]:
    """Attempts in order of their ends. What is being written just now is not one yet."""
    whole, _, _ = log.read_text().rpartition("\n")
    attempts = [Attempt(**json.loads(line)) for line in whole.splitlines()]
    return sorted(attempts, key=lambda attempt: attempt.ended)


def summarize(attempts: Iterable[Attempt]) -> Summary:
    attempts = list(attempts)
    answered = [attempt.ended for attempt in attempts if not attempt.trouble]
    gaps = (later - earlier for earlier, later in pairwise(answered))
    return Summary(len(attempts), len(attempts) - len(answered), max(gaps, default=0.0))


def split_target(target: str) -> tuple[str, int]:
    """`10.0.0.80:80` or `[2001:db8::80]:80`."""
    host, _, port = target.rpartition(":")
    return host.strip("[]"), int(port)


async def connect(target: str, log: TextIO) -> None:
    host, port = split_target(target)
    began = now()
    trouble = ""
    try:
        async with asyncio.timeout(TIMEOUT):
            reader, writer = await asyncio.open_connection(host, port)
            try:
                if port == _WEB:
                    writer.write(_REQUEST)
                if not await (reader.read() if port == _WEB else reader.readline()):
                    trouble = "closed"
            finally:
                writer.close()
    except TimeoutError:
        trouble = "timeout"
    except OSError as error:
        trouble = type(error).__name__
    log.write(json.dumps(asdict(Attempt(began, now(), target, trouble))) + "\n")


async def go_on(targets: list[str], rate: float, log: TextIO) -> None:
    """Until SIGTERM; then wait for those under way."""
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    begin, started = now(), 0
    async with asyncio.TaskGroup() as group:
        while not stop.is_set():
            while started <= (now() - begin) * rate:
                group.create_task(connect(targets[started % len(targets)], log))
                started += 1
            await asyncio.sleep(max(0.0, begin + started / rate - now()))


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="mininet_lab.connections")
    parser.add_argument("--to", action="append", required=True, metavar="ADDRESS:PORT")
    parser.add_argument("--rate", type=float, default=200.0, help="connections a second")
    parser.add_argument("--log", type=Path, required=True)
    options = parser.parse_args(arguments)
    with options.log.open("a", buffering=1) as log:
        asyncio.run(go_on(options.to, options.rate, log))


if __name__ == "__main__":
    main(sys.argv[1:])
