"""Ryu's controller imports a name that current versions of eventlet lack; `hactrl.shell.launcher`
gives it one, and makes the whole process green, which tests are not."""

from __future__ import annotations

import eventlet.wsgi

if not hasattr(eventlet.wsgi, "ALREADY_HANDLED"):
    eventlet.wsgi.ALREADY_HANDLED = []
