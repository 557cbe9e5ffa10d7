"""One description of a role in, everything that a server needs to play it out.

`render` is pure. Two servers get the same text but for what must differ: their own directory,
their own device for the spool, and the name that the web page shows.

    DIRECTORY/ROLE/           everything of a role on one server
      postfix/ dovecot.conf   configuration
      bin/                    the commands of the agent's file
      run/ log/ state/        sockets, logs
      spool/                  mount point: the queue, the mailboxes, what was delivered
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from shlex import quote

from hactrl.site.model import Role, Site
from mininet_lab.mail import delivery, placeholder, web
from mininet_lab.mail.description import MAIL_UID, MailSite, Wan, addresses_on, bracketed
from mininet_lab.mail.dovecot import dovecot_files
from mininet_lab.mail.files import Directory, File, install, queue_directories
from mininet_lab.mail.postfix import PROGRAMS, relay_files, spool_files, wan_files

#: What `bin/` scripts begin with. The agent's environment may hold anything.
_PROLOGUE = """\
set -eu
umask 022
PATH=/usr/sbin:/usr/bin:/sbin:/bin
"""


@dataclass(frozen=True)
class Rendering:
    """`agent` is the table `[roles.ROLE]` of the agent's file (docs/agent.md), without
    `network_namespace`, which is the lab's."""

    directories: dict[Path, Directory]
    files: dict[Path, File]
    agent: dict[str, object] = field(default_factory=dict)

    def install(self) -> None:
        """Write it all. See `files.install` for errors."""
        install(self.directories, self.files)


def render(
    site: Site,
    mail: MailSite,
    role: str,
    server: str,
    directory: Path,
    *,
    spool: Path | None = None,
) -> Rendering:
    """What `server` needs to play `role`, under `directory`/`role`.

    Args:
        directory: the server's own; everybody must be able to enter it and those above.
        spool: block device of the spool on this server, for the role that owns it.

    Raises:
        ValueError: the lab has no such role, or a needed device or address is missing.
    """
    renderers: dict[str, Callable[[], Rendering]] = {
        "mailrelay": lambda: _mailrelay(site, mail, site.roles[role], directory / role),
        "smtp_pop": lambda: _smtp_pop(site, mail, site.roles[role], directory / role, spool),
        "web": lambda: _web(site.roles[role], server),
    }
    if role not in renderers or role not in site.roles:
        raise ValueError(f"no mail role {role!r}; there are {', '.join(renderers)}")
    return renderers[role]()


def render_wan(wan: Wan, directory: Path) -> Rendering:
    """The WAN's mail host: `agent["daemons"]["postfix"]["command"]` runs it in the foreground,
    in the WAN host's namespace. Mailboxes are Maildirs under `directory/mail`."""
    mailboxes = directory / "mail"
    files = wan_files(wan, directory / "postfix", queue=directory / "queue", mailboxes=mailboxes)
    directories = {
        **_postfix_directories(directory),
        **queue_directories(directory / "queue"),
        mailboxes: Directory(MAIL_UID, MAIL_UID, 0o700),
    }
    return Rendering(directories, files, {"daemons": {"postfix": _foreground(directory)}})


def _mailrelay(site: Site, mail: MailSite, role: Role, home: Path) -> Rendering:
    queue = home / "queue"
    return Rendering(
        {**_postfix_directories(home), **queue_directories(queue)},
        relay_files(site, mail, role, home / "postfix", queue),
        {"always": True, "daemons": {"postfix": _foreground(home)}},
    )


def _web(role: Role, server: str) -> Rendering:
    listen = [
        f"{bracketed(str(address))}:{service.port}"
        for service in role.services
        for address in addresses_on(role, service.segment)
    ]
    command = [*python(web.__file__), server, *listen]
    return Rendering({}, {}, {"always": True, "daemons": {"web": {"command": command}}})


def _smtp_pop(site: Site, mail: MailSite, role: Role, home: Path, device: Path | None) -> Rendering:
    if device is None:
        raise ValueError(f"role {role.name} needs the spool's block device")
    spool, run, configuration = home / "spool", home / "run", home / "postfix"
    addresses = addresses_on(role, role.services[0].segment)
    files = {
        **spool_files(site, mail, role, configuration, queue=spool / "queue", sockets=run),
        **dovecot_files(mail, addresses, home, spool, run),
        home / "bin/prepare": _script(_prepare(home)),
        home / "bin/assume": _script(_assume(home, device)),
        home / "bin/release": _script(_release(home)),
    }
    directories = {
        **_postfix_directories(home),
        home / "bin": Directory(),
        home / "state": Directory(),
        home / "tmp": Directory(MAIL_UID, MAIL_UID, 0o700),
        # Nobody may write beneath the mount: Dovecot must say 'try again' there.
        spool: Directory(mode=0o555),
    }
    return Rendering(directories, files, _spool_agent(home, device, addresses, mail))


def _spool_agent(
    home: Path, device: Path, addresses: tuple[str, ...], mail: MailSite
) -> dict[str, object]:
    """Without `ready`: the controller's probes ask for the same greetings, through the server's own
    cards, before users are sent there."""
    held = [f"{bracketed(a)}:{port}" for port in (25, 587) for a in addresses]
    deliver = [str(home / "run/delivery"), str(home / "spool"), mail.fsync.value]
    return {
        "devices": [str(device)],
        "prepare": [str(home / "bin/prepare")],
        "standby": [*python(placeholder.__file__), f"smtp-pop.{mail.domain}", *held],
        "assume": [str(home / "bin/assume")],
        "release": [str(home / "bin/release")],
        "daemons": {
            "dovecot": {
                "command": ["/usr/sbin/dovecot", "-F", "-c", str(home / "dovecot.conf")],
                "from": "prepare",
            },
            "delivery": {"command": [*python(delivery.__file__), *deliver], "from": "prepare"},
            "postfix": {"pidfile": str(home / "spool/queue/pid/master.pid")},
        },
    }


def _prepare(home: Path) -> str:
    """The number in a Dovecot pid file of an earlier namespace may be somebody else's now."""
    return f"rm -f {_q(home / 'run/dovecot/master.pid')}\n"


def _assume(home: Path, device: Path) -> str:
    """What the kernel remembers of the disk is older than what the other server wrote, if
    something kept the device open. Only proof that nothing writes any more permits to clear the
    guard against a second mount, which otherwise makes the mount after a crash wait for 22 s.
    A lock file that a dead Dovecot left would block its mailbox for two minutes, and the number
    in a pid file of Postfix's is another namespace's. Indexes that a crash has cut short would
    fail the first session of each mailbox; Dovecot makes them anew from the Maildir."""
    spool = home / "spool"
    return f"""\
blockdev --flushbufs {_q(device)}
case "$HACTRL_PROOF" in
  released|power) tune2fs -f -E clear_mmp {_q(device)} >/dev/null ;;
esac
mount -t ext4 -o noatime,nodev,nosuid,noexec {_q(device)} {_q(spool)}
cd {_q(spool)}
rm -f queue/pid/master.pid mail/*/*.lock mail/*/.[!.]*/*.lock
[ "$HACTRL_PROOF" = released ] || rm -f mail/*/dovecot.*index*
cd /
{PROGRAMS}/master -w -c {_q(home / "postfix")}
postqueue -c {_q(home / "postfix")} -f </dev/null >/dev/null 2>&1 &
"""


def _release(home: Path) -> str:
    """Both masters take their processes with them. What still holds the spool after 0.4 s dies
    with the role's namespaces, which the agent ends when this fails."""
    spool = home / "spool"
    return f"""\
stop() {{ [ ! -s "$1" ] || kill -TERM $(cat "$1") || true; }}
stop {_q(spool / "queue/pid/master.pid")}
stop {_q(home / "run/dovecot/master.pid")}
for attempt in $(seq 40); do
  mountpoint -q {_q(spool)} || exit 0
  umount {_q(spool)} 2>/dev/null && exit 0
  sleep 0.01
done
echo "spool is still in use" >&2
exit 1
"""


def _script(body: str) -> File:
    return File(f"#!/bin/sh\n{_PROLOGUE}{body}", 0o755)


def _postfix_directories(home: Path) -> dict[Path, Directory]:
    return {
        home: Directory(),
        home / "postfix": Directory(),
        home / "postfix-data": Directory("postfix", "root", 0o700),
        home / "log": Directory(),
        home / "run": Directory(),
    }


def _foreground(home: Path) -> dict[str, object]:
    """Postfix's `-s`, not `-i`, which only process 1 may use."""
    return {"command": [str(PROGRAMS / "master"), "-s", "-c", str(home / "postfix")]}


def python(program: str | None) -> list[str]:
    """Our small programs use only the standard library, and start faster for it."""
    assert program is not None
    return [sys.executable, "-I", "-S", program]


def _q(path: Path) -> str:
    return quote(str(path))
