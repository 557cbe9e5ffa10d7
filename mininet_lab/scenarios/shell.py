"""Build everything, start it, and open a shell inside, to look around and to break things.

In it: `hactl status`; `ovs-ofctl -O OpenFlow13 dump-flows i1`; `hactrl-lab-power off smtp_pop`;
`on HOST COMMAND` runs a command on the WAN host, a client or a server's chassis.
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
        program = programs / "on"
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
        interpreter = os.environ.get("SHELL", "/bin/sh")
        # Else bash's own files would take the prompt away, which says where one is.
        plain = ("--norc",) if Path(interpreter).name == "bash" else ()
        subprocess.run([interpreter, *plain], env=environment, check=False)
