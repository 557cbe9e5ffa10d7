"""What a good site file leaves to luck. None of it keeps a controller from starting."""

from __future__ import annotations

from hactrl.site.model import Site


def warnings(site: Site) -> tuple[str, ...]:
    """For people, each with its place."""
    return tuple(
        f"roles.{name}.lease: a paused virtual machine can outlive its lease; expected a "
        f"power_fence for {', '.join(unfenced)}, or machines that nobody pauses"
        for name, role in site.roles.items()
        if role.needs_fence and role.lease is not None
        if (unfenced := [s for s in role.servers if not site.has_fence(s)])
    )
