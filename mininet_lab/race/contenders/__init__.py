"""Who races: hactrl, and what users would pick instead, each with two sets of timers; hactrl also
with agents."""

from __future__ import annotations

from mininet_lab.race.contenders import attended, haproxy, keepalived, ours

SETTINGS = {
    setting.name: setting
    for setting in (
        *ours.SETTINGS,
        attended.SETTING,
        *keepalived.SETTINGS,
        *haproxy.SETTINGS,
    )
}
