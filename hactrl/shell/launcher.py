"""The console script `ryu-manager`: Ryu's own, started so that it runs today and runs hactrl.

Ryu 4.34 is from 2020. What stands between it and its use today is put right here, in the running
process; no file in site-packages is touched:

1. `ryu.app.wsgi` imports `ALREADY_HANDLED` from `eventlet.wsgi`, which eventlet 0.30.3 dropped.
2. `ryu-manager hactrl` in a checkout takes the name for the path of the folder `hactrl`, and
   elsewhere loads the package and finds no application in it: the name means `hactrl.shell.app`.
3. OpenFlow over TLS works for the first connection only (`StreamServer` says why).
4. Everything listens on 0.0.0.0, and beside other controllers: the site file says where, its
   default is loopback, and all is open, for this process alone, before Ryu starts.
5. Its log has neither time nor level nor origin, and a line for each request that is served.
6. It believes what switches send (`flows.openflow.connection` says how that is put right).
7. For its options about Zebra, which nothing here has to do with, it imports `distutils`, which
   Python 3.12 dropped. To have it of setuptools would take a sixth of each start.

A site file that is missing or wrong, and a port that cannot be opened, end the program before Ryu
starts.
"""

from __future__ import annotations

import logging
import os
import ssl
import sys
import warnings
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hactrl.site.model import Site

LOG = logging.getLogger(__name__)

APPLICATION = "hactrl.shell.app"
"""The module that holds the Ryu application."""

DEBUGGER = "--enable-debugger"
"""Ryu's option that leaves threads as they are."""

SITE_VARIABLE = "HACTRL_SITE"
"""The environment variable that names the site file."""

HANDSHAKE_TIMEOUT = 10.0
"""Seconds that a switch gets for its TLS handshake."""

HANDSHAKE_PAUSE = 10.0
"""Seconds between two lines of log about failed handshakes of one address."""

ECHO_INTERVAL = 2.0
"""Seconds between echo requests to a switch; Ryu's own default never gives one up."""

UNREPLIED_ECHOES = 3
"""Echo requests without a reply after which a switch's connection is given up."""

LOG_FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"
"""Of every line of the log."""

DEFAULT_CONFIG_FILES = ["/usr/local/etc/ryu/ryu.conf"]
"""Where Ryu looks for its options when no `--config-file` is given."""


class SiteNotNamedError(Exception):
    """Nobody said which site file to use."""

    def __str__(self) -> str:
        return (
            "hactrl needs a site file; name it by --hactrl-site FILE, by hactrl_site in the file"
            f" that --config-file names, or by the environment variable {SITE_VARIABLE}"
        )


def main(arguments: Sequence[str] | None = None) -> int:
    """Run Ryu with these command line arguments (the process's own, if None).

    Returns the exit code: 1 if the site file, a configuration file or one that the site file names
    is missing or wrong, with the reason on stderr.
    """
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    manager = ryu_manager(green_threads=DEBUGGER not in arguments)
    from oslo_config.cfg import Error as OptionsError

    from flows.openflow.framework import NAME, RYU, VARIABLE

    if NAME != RYU:
        return refuse(ImportError(f"it runs on Ryu, and {VARIABLE} is {NAME}; let it be empty"))
    options = manager.CONF
    try:
        name_applications(manager, arguments)
    except OptionsError as error:
        return refuse(error)
    if APPLICATION in [*options.app, *options.app_lists]:
        from hactrl.listeners import ListenError
        from hactrl.site import SiteError

        try:
            site = configured_site(options)
            use_site(options, site)
            open_doors(options, site)
        except (SiteError, SiteNotNamedError, ListenError, OSError) as error:
            return refuse(error)
        return run(manager, arguments)
    manager.main(args=arguments, prog="ryu-manager")
    return 0


def run(manager: Any, arguments: list[str]) -> int:
    """Run Ryu with hactrl; returns the exit code. What is told to end does so by its signal, so
    that Ryu comes back only when all that it runs has ended by itself."""
    from hactrl.shell.assembly import StartError

    try:
        manager.main(args=arguments, prog="ryu-manager")
    except StartError as error:
        return refuse(error)
    LOG.critical("all that Ryu runs has ended; the controller ends")
    return os.EX_SOFTWARE


def refuse(error: Exception) -> int:
    """Say on stderr what is wrong; returns the exit code."""
    print(f"ryu-manager: {error}", file=sys.stderr)
    return 1


def name_applications(manager: Any, arguments: list[str]) -> None:
    """Read Ryu's options, and let `hactrl` in them mean its module.

    Raises `oslo_config.cfg.Error` for a configuration file that cannot be read.
    """
    options = manager.CONF
    register_options(options)
    parse(manager, arguments)
    for option in ("app", "app_lists"):
        options.set_override(option, [application_module(name) for name in options[option]])


def ryu_manager(*, green_threads: bool = False) -> Any:
    """Ryu's manager module, made to import and to serve TLS.

    Importing it makes the standard library green (`eventlet.monkey_patch`), so nothing but the
    controller's process should. `green_threads`: so are threads and their locks. Ryu does that in
    its `main`, too late for the locks of what is imported until then.
    """
    # Said at every start, of no use to who starts it, and Ryu leaves no choice.
    warnings.filterwarnings("ignore", message=r"\s*Eventlet is deprecated")
    from ryu.lib import hub

    if green_threads:
        hub.patch(thread=True)
    from hactrl.hub import wsgi

    if not hasattr(wsgi, "ALREADY_HANDLED"):
        # A list, because a WebSocket that closes is iterated over as its response.
        wsgi.ALREADY_HANDLED = []
    version = ModuleType("distutils.version")
    version.LooseVersion = str  # type: ignore[attr-defined]
    sys.modules.setdefault(version.__name__, version)
    import ryu.cmd.manager
    import ryu.controller.controller
    import ryu.log

    from flows.openflow import connection

    connection.install()
    ryu.controller.controller.StreamServer = StreamServer
    hub.WSGIServer.__init__ = listen_to_requests
    hub.WSGIServer.serve_forever = serve_requests
    ryu.log.init_log = formatted(ryu.log.init_log)
    return ryu.cmd.manager


def formatted(init_log: Callable[[], None]) -> Callable[[], None]:
    """Ryu's `init_log`, with a format for what it sets up. A `--log-config-file` brings its own."""

    def init() -> None:
        from ryu import cfg

        before = list(logging.root.handlers)
        init_log()
        if cfg.CONF.log_config_file:
            return
        for handler in logging.root.handlers:
            if handler not in before:
                handler.setFormatter(logging.Formatter(LOG_FORMAT))

    return init


def listen_to_requests(server: Any, listen_info: tuple[str, int], application: Any) -> None:
    """Ryu's `WSGIServer.__init__`, with the port that is open already."""
    from hactrl.listeners import REST, door

    server.door, server.handle = door(REST, listen_info), application
    server.server = server.door.listener


def serve_requests(server: Any) -> None:
    """Ryu's `WSGIServer.serve_forever`, with limits to what a client may ask for, and without a
    line for each request."""
    from hactrl.listeners import or_end
    from hactrl.rest.server import serve

    or_end("REST", lambda: serve(server.door, server.handle, RequestLog()))


class RequestLog:
    """Where eventlet's WSGI server writes. Its line for each request is empty, and dropped; turned
    off there, the tracebacks of failed requests would be lost with it. Of these one of a kind is
    logged in `DEFECT_PAUSE`: whoever brings one about may ask again."""

    def __init__(self) -> None:
        from flows.sparing import Sparing
        from hactrl.rest.router import DEFECT_PAUSE

        self._defects = Sparing(DEFECT_PAUSE)

    def debug(self, message: str) -> None:
        LOG.debug("REST: %s", message)

    def info(self, message: str) -> None:
        if message.startswith("Traceback"):
            self.error(message)
        elif message:
            LOG.info("REST: %s", message)

    def error(self, message: str) -> None:
        text = message.rstrip()
        kind = text.rpartition("\n")[2].partition(":")[0]  # the name of what was raised
        self._defects.log(kind, LOG.error, "REST: %s", text)


def register_options(options: Any) -> None:
    """Add `--hactrl-site` (in a configuration file: `hactrl_site`) to Ryu's options."""
    from ryu import cfg

    options.register_cli_opts(
        [
            cfg.StrOpt(
                "hactrl-site",
                default=os.environ.get(SITE_VARIABLE),
                help=f"hactrl's site file (default: the environment variable {SITE_VARIABLE})",
            )
        ]
    )


def parse(manager: Any, arguments: list[str]) -> None:
    """Read command line and configuration files as `ryu.cmd.manager.main` will again."""
    from ryu import cfg

    manager._parse_user_flags()
    known = {"args": arguments, "prog": "ryu-manager", "project": "ryu"}
    known["version"] = f"ryu-manager {manager.version}"
    try:
        manager.CONF(**known, default_config_files=DEFAULT_CONFIG_FILES)
    except cfg.ConfigFilesNotFoundError as error:
        if set(error.config_files) - set(DEFAULT_CONFIG_FILES):
            raise
        manager.CONF(**known)


def application_module(name: str) -> str:
    """The module that an application's name on the command line means."""
    return APPLICATION if name.rstrip("/") == "hactrl" else name


def configured_site(options: Any) -> Site:
    """The site that Ryu's options name.

    Raises SiteNotNamedError, `hactrl.site.SiteError` with every error of the file, and OSError
    if it cannot be read.
    """
    from hactrl.site import load

    if not options.hactrl_site:
        raise SiteNotNamedError
    return load(options.hactrl_site)


def use_site(options: Any, site: Site) -> None:
    """Make the site's listening addresses the defaults of Ryu's options, and have it notice a
    switch that is silently gone.

    What the command line or a configuration file says goes before.
    """
    openflow, rest = site.controller.openflow, site.controller.rest
    options.set_default("ofp_listen_host", openflow.host)
    options.set_default("ofp_tcp_listen_port", openflow.port)
    options.set_default("ofp_ssl_listen_port", openflow.port)
    options.set_default("wsapi_host", rest.host)
    options.set_default("wsapi_port", rest.port)
    options.set_default("echo_request_interval", ECHO_INTERVAL)
    options.set_default("maximum_unreplied_echo_requests", UNREPLIED_ECHOES)


def open_doors(options: Any, site: Site) -> None:
    """Open all ports, where Ryu's options say, for as many connections as this process may have.

    Raises `hactrl.listeners.ListenError` for the first that is not to be had.
    """
    from hactrl import listeners
    from hactrl.site.model import Listen

    configured = site.controller
    tls = options.ctl_privkey is not None and options.ctl_cert is not None
    switches = Listen(
        options.ofp_listen_host, options.ofp_ssl_listen_port if tls else options.ofp_tcp_listen_port
    )
    clients = Listen(options.wsapi_host, options.wsapi_port)
    check_tls(options)
    listeners.allow_descriptors()
    rooms = listeners.rooms(site)
    for key, listen, usual, option in (
        (listeners.OPENFLOW, switches, configured.openflow, "--ofp-..."),
        (listeners.AGENTS, configured.agents, configured.agents, ""),
        (listeners.REST, clients, configured.rest, "--wsapi-..."),
    ):
        name = key if listen == usual else f"{option} (instead of {key})"
        listeners.OPEN[key] = listeners.open_door(name, listen, rooms[key])


def check_tls(options: Any) -> None:
    """Without a usable key no switch could ever connect, and nobody would be told.

    Raises `hactrl.listeners.ListenError`, naming the options.
    """
    from hactrl.listeners import ListenError

    key, certificate = options.ctl_privkey, options.ctl_cert
    if (key is None) != (certificate is None):
        raise ListenError("--ctl-privkey and --ctl-cert go together: give both, or none")
    if key is None:
        return
    try:
        tls_context(keyfile=key, certfile=certificate, ca_certs=options.ca_certs)
    except OSError as error:  # ssl.SSLError too
        raise ListenError(
            f"--ctl-privkey {key}, --ctl-cert {certificate}, --ca-certs {options.ca_certs}:"
            f" not usable ({error}); see that the files are there and belong together"
        ) from error


Handler = Callable[[Any, Any], None]


class StreamServer:
    """In the place of Ryu's: serves switches at the port that is open already, with a TLS that
    outlives the first connection, and ends the controller if it ends.

    Ryu's own makes its context anew from a dictionary that all connections share, and takes
    key and certificate out of it the first time. Here one context wraps every connection, and
    a peer that is silent in the handshake is dropped after `HANDSHAKE_TIMEOUT`.
    """

    def __init__(self, listen_info: tuple[str, int], handle: Handler, **tls: Any) -> None:
        from hactrl.listeners import OPENFLOW, door

        self.door = door(OPENFLOW, listen_info)
        self.handle = tls_handler(tls_context(**tls), handle) if tls else handle

    def serve_forever(self) -> None:
        from hactrl.listeners import or_end

        or_end("OpenFlow", lambda: self.door.serve(self.handle))


def tls_context(
    *,
    keyfile: str,
    certfile: str,
    cert_reqs: ssl.VerifyMode = ssl.CERT_NONE,
    ca_certs: str | None = None,
    **_replaced: Any,
) -> ssl.SSLContext:
    """A server's context, TLS 1.2 or newer, from the arguments that Ryu gives its server."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(certfile, keyfile)
    if ca_certs is not None:
        context.load_verify_locations(ca_certs)
    context.verify_mode = cert_reqs
    return context


def tls_handler(context: ssl.SSLContext, handle: Handler) -> Handler:
    from flows.sparing import Sparing

    failures = Sparing(HANDSHAKE_PAUSE)

    def shake_hands_and_handle(connection: Any, peer: Any) -> None:
        connection.settimeout(HANDSHAKE_TIMEOUT)
        try:
            secured = context.wrap_socket(connection, server_side=True)
        except OSError as error:  # ssl.SSLError and timeouts too
            said = "TLS handshake with %s failed: %s"
            failures.log(peer[0], LOG.error, said, peer, error)
            connection.close()
            return
        secured.settimeout(None)
        handle(secured, peer)

    return shake_hands_and_handle
