"""The `ryu-manager` of ours: names, options, site file, TLS.

Importing Ryu's manager makes the standard library of the whole process green, so what needs it
runs in a process of its own.
"""

from __future__ import annotations

import re
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace

import pytest
from running import FRONTIER, MAIN, own_site
from ryu import cfg

from flows.openflow.framework import OS_KEN, VARIABLE
from hactrl.shell import launcher

REPOSITORY = Path(__file__).parents[3]


def run_python(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


def run_manager(*arguments: str) -> subprocess.CompletedProcess[str]:
    return run_python(MAIN, *arguments)


@pytest.mark.parametrize("name", ["hactrl", "hactrl/", "hactrl.shell.app"])
def test_the_name_hactrl_means_the_module_that_holds_the_application(name: str) -> None:
    assert launcher.application_module(name) == "hactrl.shell.app"


def test_other_applications_keep_their_names() -> None:
    assert launcher.application_module("ryu.app.simple_switch_13") == "ryu.app.simple_switch_13"


def test_ryu_imports_with_a_current_eventlet() -> None:
    done = run_python(
        "from hactrl.shell.launcher import ryu_manager; ryu_manager()\n"
        "from ryu.app import wsgi; import eventlet.wsgi; print(eventlet.wsgi.ALREADY_HANDLED)"
    )
    assert done.stdout == "[]\n", done.stderr


def test_the_version_is_told_without_a_site_file() -> None:
    done = run_manager("--version")
    assert (done.returncode, done.stdout) == (0, "ryu-manager 4.34\n")


class TestSiteFileOption:
    @pytest.fixture
    def options(self, monkeypatch: pytest.MonkeyPatch) -> cfg.ConfigOpts:
        monkeypatch.setenv(launcher.SITE_VARIABLE, "from-environment.yaml")
        options = cfg.ConfigOpts()
        launcher.register_options(options)
        return options

    def test_comes_from_the_environment(self, options: cfg.ConfigOpts) -> None:
        options(args=[])
        assert options.hactrl_site == "from-environment.yaml"

    def test_in_a_configuration_file_goes_before_the_environment(
        self, options: cfg.ConfigOpts, tmp_path: Path
    ) -> None:
        file = tmp_path / "ryu.conf"
        file.write_text("[DEFAULT]\nhactrl_site = from-file.yaml\n")
        options(args=["--config-file", str(file)])
        assert options.hactrl_site == "from-file.yaml"

    def test_on_the_command_line_goes_before_a_configuration_file(
        self, options: cfg.ConfigOpts, tmp_path: Path
    ) -> None:
        file = tmp_path / "ryu.conf"
        file.write_text("[DEFAULT]\nhactrl_site = from-file.yaml\n")
        options(args=["--config-file", str(file), "--hactrl-site", "from-command-line.yaml"])
        assert options.hactrl_site == "from-command-line.yaml"

    def test_of_nothing_is_an_error_that_names_every_way_to_give_it(self) -> None:
        with pytest.raises(launcher.SiteNotNamedError) as raised:
            launcher.configured_site(SimpleNamespace(hactrl_site=None))
        for way in ("--hactrl-site", "--config-file", "HACTRL_SITE"):
            assert way in str(raised.value)


def test_a_site_file_that_nobody_named_ends_the_program_before_ryu_starts() -> None:
    done = run_manager("hactrl")
    assert done.returncode == 1
    assert done.stderr.startswith("ryu-manager: hactrl needs a site file")
    assert "loading app" not in done.stderr


@pytest.mark.skipif(find_spec(OS_KEN) is None, reason="os-ken is not installed")
def test_another_framework_than_ryu_ends_the_program_before_anything_starts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(VARIABLE, OS_KEN)
    done = run_manager("hactrl")
    assert done.returncode == 1
    assert done.stderr == (
        f"ryu-manager: it runs on Ryu, and {VARIABLE} is {OS_KEN}; let it be empty\n"
    )


def test_a_wrong_site_file_ends_the_program_with_its_errors(tmp_path: Path) -> None:
    file = tmp_path / "site.yaml"
    file.write_text(FRONTIER.read_text().replace("datapath_id: 0x12", "datapath_di: 0x12"))
    done = run_manager("hactrl", "--hactrl-site", str(file))
    assert done.returncode == 1
    assert "datapath_di" in done.stderr
    assert "Traceback" not in done.stderr
    assert "loading app" not in done.stderr


def test_a_store_that_is_none_ends_the_program_with_its_name(tmp_path: Path) -> None:
    store = tmp_path / "hactrl.sqlite"
    store.write_text("no database, and long enough to be looked at as one" * 20)
    done = run_manager("hactrl", "--hactrl-site", str(own_site(tmp_path)))
    assert done.returncode == 1
    assert f"ryu-manager: {store}" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_site_file_that_does_not_exist_ends_the_program_with_its_name_alone(
    tmp_path: Path,
) -> None:
    """No library has anything to say besides: eventlet found all locks."""
    absent = tmp_path / "absent.yaml"
    done = run_manager("hactrl", "--hactrl-site", str(absent))
    assert done.returncode == 1
    assert done.stderr.splitlines() == [
        f"ryu-manager: {absent}: refused, 1 error:",
        f"  {absent}: cannot be read: No such file or directory",
    ]


@pytest.mark.parametrize("content", [None, "no assignment"], ids=["absent", "malformed"])
def test_a_configuration_file_that_cannot_be_read_ends_the_program_with_its_name(
    tmp_path: Path, content: str | None
) -> None:
    file = tmp_path / "ryu.conf"
    if content is not None:
        file.write_text(content)
    done = run_manager("hactrl", "--config-file", str(file))
    assert done.returncode == 1
    assert str(file) in done.stderr
    assert "Traceback" not in done.stderr


def test_the_site_says_where_ryu_listens_and_the_command_line_goes_before_it() -> None:
    done = run_python(
        "import sys; from hactrl.shell import launcher\n"
        "options = launcher.ryu_manager().CONF; launcher.register_options(options)\n"
        "options(args=sys.argv[1:], project='ryu')\n"
        "launcher.use_site(options, launcher.configured_site(options))\n"
        "print(options.ofp_listen_host, options.ofp_tcp_listen_port,"
        " options.wsapi_host, options.wsapi_port)\n"
        "print(options.echo_request_interval, options.maximum_unreplied_echo_requests)",
        *("--hactrl-site", str(FRONTIER), "--wsapi-port", "9090"),
    )
    listening, silence = done.stdout.splitlines()
    assert listening == "127.0.0.1 6653 127.0.0.1 9090", done.stderr
    assert silence == "2.0 3"  # else a switch that is silently gone is never given up


#: Serves one request well, and fails at another; ends after both.
REQUESTS = """
import urllib.error, urllib.request
from hactrl.shell import launcher
manager = launcher.ryu_manager()
manager.CONF(args=[], project="ryu")
manager.log.init_log()
from ryu.lib import hub

def application(environ, start_response):
    if environ["PATH_INFO"] == "/defect":
        raise ValueError("a defect")
    start_response("200 OK", [])
    return [b"well"]

server = hub.WSGIServer(("127.0.0.1", 0), application)
hub.spawn(server.serve_forever)
url = f"http://127.0.0.1:{server.server.getsockname()[1]}"
assert urllib.request.urlopen(f"{url}/good").read() == b"well"
try:
    urllib.request.urlopen(f"{url}/defect")
except urllib.error.HTTPError as error:
    assert error.code == 500
"""


def test_the_log_has_time_level_origin_and_failed_requests_but_none_that_went_well() -> None:
    done = run_python(REQUESTS)
    assert done.returncode == 0, done.stderr
    stamp = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} "
    assert re.search(rf"^{stamp}INFO hactrl.shell.launcher: REST: .*starting up", done.stderr, re.M)
    assert re.search(rf"^{stamp}ERROR hactrl.shell.launcher: REST: Traceback", done.stderr, re.M)
    assert "ValueError: a defect" in done.stderr
    assert "GET /" not in done.stderr


def test_the_same_defect_of_many_requests_is_one_traceback_in_the_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    log = launcher.RequestLog()
    for number in range(3):
        log.info(f"Traceback (most recent call last):\n  ...\nValueError: request {number}\n")
    log.info("Traceback (most recent call last):\n  ...\nKeyError: 'else'\n")
    assert [record.message.splitlines()[-1] for record in caplog.records] == [
        "ValueError: request 0",
        "KeyError: 'else'",
    ]


#: Asks half a request; ends when the server has hung up.
HALF_A_REQUEST = """
import socket
from hactrl.shell import launcher
launcher.ryu_manager()
from hactrl.rest import server as limits
limits.HEAD = 0.2
from ryu.lib import hub
server = hub.WSGIServer(("127.0.0.1", 0), None)
hub.spawn(server.serve_forever)
with socket.create_connection(server.server.getsockname()) as client:
    client.settimeout(5.0)
    client.sendall(b"GET / HTTP/1.1\\r\\nHost: ")
    assert client.recv(1) == b""
"""


def test_who_asks_half_a_request_is_hung_up_on() -> None:
    done = run_python(HALF_A_REQUEST)
    assert done.returncode == 0, done.stderr


def test_that_all_has_ended_by_itself_is_no_good_end() -> None:
    manager = SimpleNamespace(main=lambda **_: None)
    assert launcher.run(manager, []) == 70


#: A listener that ends, as no listener should, under what Ryu starts.
LISTENER_ENDS = """
import errno, types
from hactrl.shell import launcher
from hactrl import listeners
manager = launcher.ryu_manager()
from ryu.controller import controller
from ryu.lib import hub

def accept():
    raise OSError(errno.EBADF, "ended")

listener = types.SimpleNamespace(
    accept=accept, close=lambda: None, family=None, getsockname=lambda: "here"
)
for key in (listeners.OPENFLOW, listeners.REST):
    listeners.OPEN[key] = listeners.Door(key, listener, listeners.Room(1, 1))
{server}(("127.0.0.1", 0), None).serve_forever()
"""


@pytest.mark.reported("C9")
@pytest.mark.parametrize("server", ["controller.StreamServer", "hub.WSGIServer"])
def test_the_end_of_a_listener_is_the_end_of_the_controller(server: str) -> None:
    done = run_python(LISTENER_ENDS.format(server=server))
    assert done.returncode == 70, done.stderr
    assert "the controller ends" in done.stderr


@pytest.fixture(scope="module")
def key_and_certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    directory = tmp_path_factory.mktemp("tls")
    key, certificate = str(directory / "key.pem"), str(directory / "certificate.pem")
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "ec", "-nodes", "-days", "1"),
            *("-pkeyopt", "ec_paramgen_curve:P-256", "-subj", "/CN=controller"),
            *("-keyout", key, "-out", certificate),
        ],
        check=True,
        capture_output=True,
    )
    return key, certificate


class TestTls:
    @pytest.fixture
    def handler(self, key_and_certificate: tuple[str, str]) -> launcher.Handler:
        key, certificate = key_and_certificate

        def greet(connection: ssl.SSLSocket, _peer: object) -> None:
            connection.sendall(b"hello")
            connection.close()

        # As Ryu calls it, with the context of its own that it passes along.
        context = launcher.tls_context(
            keyfile=key, certfile=certificate, ssl_ctx=ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        )
        return launcher.tls_handler(context, greet)

    @pytest.fixture
    def pair(self) -> Iterator[tuple[socket.socket, socket.socket]]:
        with_server, with_client = socket.socketpair()
        yield with_server, with_client
        with_server.close()
        with_client.close()

    def greeting(self, handler: launcher.Handler) -> bytes:
        with_server, with_client = socket.socketpair()
        server = threading.Thread(target=handler, args=(with_server, "peer"))
        server.start()
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        try:
            with context.wrap_socket(with_client) as secured:
                return secured.recv(16)
        finally:
            server.join()

    def test_serves_the_second_connection_as_the_first(self, handler: launcher.Handler) -> None:
        assert [self.greeting(handler) for _ in range(2)] == [b"hello", b"hello"]

    def test_drops_a_peer_that_is_silent_in_the_handshake(
        self,
        handler: launcher.Handler,
        pair: tuple[socket.socket, socket.socket],
        monkeypatch: pytest.MonkeyPatch,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        monkeypatch.setattr(launcher, "HANDSHAKE_TIMEOUT", 0.01)
        with_server, with_client = pair
        handler(with_server, "the silent one")
        assert with_client.recv(1) == b""
        assert "TLS handshake with the silent one failed" in caplog.text

    @pytest.mark.reported("C6")
    def test_who_fails_again_and_again_is_one_line(
        self, handler: launcher.Handler, caplog: pytest.LogCaptureFixture
    ) -> None:
        for port in range(100):
            with_server, with_client = socket.socketpair()
            with_client.close()
            handler(with_server, ("192.0.2.1", port))
        assert len([r for r in caplog.records if "TLS handshake" in r.message]) == 1

    def test_asks_for_a_switch_s_certificate_when_an_authority_is_named(
        self, key_and_certificate: tuple[str, str]
    ) -> None:
        key, certificate = key_and_certificate
        context = launcher.tls_context(
            keyfile=key,
            certfile=certificate,
            cert_reqs=ssl.CERT_REQUIRED,
            ca_certs=certificate,
        )
        assert context.verify_mode is ssl.CERT_REQUIRED
        assert context.cert_store_stats()["x509_ca"] == 1
