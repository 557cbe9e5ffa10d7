"""Who races: hactrl, and what users would pick instead, each with two sets of timers."""

from __future__ import annotations

from mininet_lab.race.contenders import haproxy, keepalived, ours

SETTINGS = {
    setting.name: setting for setting in (*ours.SETTINGS, *keepalived.SETTINGS, *haproxy.SETTINGS)
}
