"""What an agent finds that started with another file than the one before: guards that go on with
what they were started with, and guards of roles that are no longer there."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
from pathlib import Path
from typing import Any

from hactrl.agent.config import AgentConfig
from hactrl.agent.control import FROM_GUARD, SPEC, GuardSpec, GuardState, Phase
from hactrl.agent.epochs import replace_file
from hactrl.agent.messages import LONGEST_LINE

LOG = logging.getLogger(__name__)

IDLE = frozenset({Phase.PREPARING, Phase.STANDBY, Phase.BROKEN})
"""When the end of a guard takes nothing from anybody."""

STRAY_TIMEOUT = 1.0
"""Seconds for the guard of a role that is not in the file to say what it is doing."""


class StartedWith:
    """The `GuardSpec` that the last guard of a role was started with, in the run directory."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def write(self, spec: GuardSpec) -> None:
        """Raises OSError if there is no room."""
        replace_file(self._path, SPEC.encode(spec))

    def changes(self, spec: GuardSpec) -> tuple[str, ...]:
        """The keys of the file that say something else now. Raises OSError if what they said
        before cannot be read, but for an agent that did not write it down."""
        try:
            before = _flat(self._path.read_bytes())
        except FileNotFoundError:
            return ("perhaps everything",)
        now = _flat(SPEC.encode(spec))
        return tuple(
            key for key in sorted(before.keys() | now.keys()) if before.get(key) != now.get(key)
        )


def _flat(spec: bytes) -> dict[str, Any]:
    """The keys of a `GuardSpec` of whichever version, with those of its role. The boot id is none
    of the file's."""
    try:
        body: dict[str, Any] = json.loads(spec)
        role: dict[str, Any] = body.pop("role")
        return {key: value for key, value in body.items() if key != "boot"} | role
    except (ValueError, KeyError, TypeError, AttributeError):
        return {}  # then everything has changed


async def end_strays(config: AgentConfig) -> None:
    """End idle guards of roles that are not in the file, and name those that hold something."""
    known = {role.name for role in config.roles}
    for door in sorted(Path(config.run_directory).glob("*.socket")):
        if door.stem in known or (state := await _state(door)) is None:
            continue
        if state.phase in IDLE:
            LOG.info("%s: not in the file any more: its guard is ended", door.stem)
            os.kill(state.process, signal.SIGKILL)
        else:
            LOG.error(
                "%s: %s, and not in the file any more: put it back, or end process %d",
                door.stem,
                state.phase.value,
                state.process,
            )


async def _state(door: Path) -> GuardState | None:
    """None if nobody is there any more, or nobody who can be understood."""
    try:
        async with asyncio.timeout(STRAY_TIMEOUT):
            reader, writer = await asyncio.open_unix_connection(str(door), limit=LONGEST_LINE)
            line = await reader.readline()
        writer.close()
        state: GuardState = FROM_GUARD.decode(line)
    except (FileNotFoundError, ConnectionError):
        return None
    except (OSError, ValueError) as error:
        LOG.error("%s: not in the file any more, and its guard says nothing: %s", door.stem, error)
        return None
    return state
