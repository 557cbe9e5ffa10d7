"""The script of docs/file-server.md, in a network namespace: each mark goes out by its interface,
and by another one while its link is down."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest

pytestmark = pytest.mark.integration

GUIDE = (Path(__file__).parents[2] / "docs" / "file-server.md").read_text()
SCRIPT = GUIDE.split("```sh\n", 1)[1].split("```", 1)[0]
CLIENTS = {"-4": "10.20.1.5", "-6": "2001:db8:20::1:5"}
BEYOND = {"-4": "198.51.100.7", "-6": "2001:db8:ffff::7"}


def script(cards: int, gateways: bool = False) -> str:
    names = " ".join(f"eno{number}" for number in range(1, cards + 1))
    text = re.sub('^INTERFACES=".*"$', f'INTERFACES="{names}"', SCRIPT, flags=re.MULTILINE)
    if gateways:
        text = text.replace("GATEWAY4=\n", "GATEWAY4=10.20.0.1\n")
        text = text.replace("GATEWAY6=\n", "GATEWAY6=2001:db8:20::1\n")
    return text


def inside(cards: int, *lines: str) -> list[str]:
    """Run lines in a namespace of their own that has these cards; what each `ip route get` says
    of the interface to go out by."""
    prepare = ["set -e", "mount -t sysfs sysfs /sys"]
    for number in range(1, cards + 1):
        prepare += [
            f"ip link add eno{number} type veth peer name far{number}",
            f"ip link set far{number} up",
        ]
    done = subprocess.run(
        ("unshare", "--net", "--mount", "sh"),
        input="\n".join([*prepare, *lines]),
        capture_output=True,
        text=True,
        check=False,
        timeout=30.0,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return [json.loads(line)[0]["dev"] for line in done.stdout.splitlines() if line.strip()]


def way(family: str, address: str, mark: int) -> str:
    return f"ip -json {family} route get {address} mark {mark} | tr -d '\\n'; echo"


@pytest.mark.parametrize("family", ["-4", "-6"])
@pytest.mark.parametrize("cards", [2, 3])
def test_each_mark_goes_out_by_its_interface(cards: int, family: str) -> None:
    marks = range(cards + 1)
    found = inside(cards, script(cards), *(way(family, CLIENTS[family], m) for m in marks))
    assert found == ["eno1", *(f"eno{mark}" for mark in marks[1:])]


@pytest.mark.parametrize("family", ["-4", "-6"])
def test_an_interface_whose_link_is_down_is_left(family: str) -> None:
    asked = way(family, CLIENTS[family], 2)
    found = inside(2, script(2), asked, "ip link set far2 down", asked)
    assert found == ["eno2", "eno1"]


@pytest.mark.parametrize("family", ["-4", "-6"])
def test_it_may_be_run_again_and_knows_the_way_beyond_a_router(family: str) -> None:
    text = script(3, gateways=True)
    assert inside(3, text, text, way(family, BEYOND[family], 3)) == ["eno3"]
