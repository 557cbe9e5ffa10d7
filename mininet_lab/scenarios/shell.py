"""Build everything, start it, and open a shell inside, to look around and to break things.

In it: `hactl status`; `ovs-ofctl -O OpenFlow13 dump-flows i1`; `hactrl-lab-power off smtp_pop`;
`in HOST COMMAND` runs a command on the WAN host, a client or a server's chassis.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from mininet_lab.report import Story
from mininet_lab.scenarios import Options
from mininet_lab.stage import standing


def play(directory: Path, options: Options, story: Story) -> None:
    """Until the shell ends."""
    del options
    with standing(directory, story) as stage:
        programs = directory / "bin"
        program = programs / "in"
        pids = " ".join(f"{n.name}) pid={n.pid};;" for n in stage.lab.network.nodes.values())
        program.write_text(
            f'#!/bin/sh\ncase "$1" in {pids} *) echo "no host $1" >&2; exit 2;; esac\nshift\n'
            'exec nsenter --net=/proc/$pid/ns/net -- "$@"\n'
        )
        program.chmod(0o755)
        listen = stage.lab.site.controller.rest
        story.tell(f"hosts: {', '.join(stage.lab.network.nodes)}; leave with exit")
        environment = os.environ | {
            "PATH": f"{programs}:{Path(sys.executable).parent}:{os.environ['PATH']}",
            "HACTRL_URL": f"http://{listen.host}:{listen.port}",
            "HACTRL_TOKEN_FILE": stage.lab.site.controller.operator_token,
            "PS1": "lab# ",
        }
        subprocess.run([os.environ.get("SHELL", "/bin/sh")], env=environment, check=False)
