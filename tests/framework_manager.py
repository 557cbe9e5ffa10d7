"""Runs an application on either framework: by hactrl's launcher on Ryu, and on os-ken, which has no
manager, by what is left of one here.

    python framework_manager.py HOST PORT APPLICATION

serves switches at that place, with connections of ours. APPLICATION is a file.
"""

from __future__ import annotations

import sys

from flows.openflow.framework import NAME, RYU


def main(host: str, port: str, application: str) -> int:
    listen = ["--ofp-listen-host", host, "--ofp-tcp-listen-port", port]
    if NAME == RYU:
        from hactrl.shell import launcher

        return launcher.main([*listen, application])
    from flows.openflow import connection
    from flows.openflow.framework import app_manager, cfg, hub

    hub.patch(thread=True)
    connection.install()
    cfg.CONF(args=listen, project=NAME, default_config_files=[])
    app_manager.AppManager.run_apps([application])
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
