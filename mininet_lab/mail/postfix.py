"""Postfix's main.cf and master.cf for each job, as text.

Nothing runs in a chroot, nothing asks DNS, and each instance has its own directories, so that
several live beside each other on one machine. Parameters: postconf(5), master(5).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from hactrl.site.model import Role, Site
from mininet_lab.mail.description import (
    MAIL_UID,
    MailSite,
    Wan,
    addresses_on,
    all_addresses,
    bracketed,
    is_ipv6,
    peer_of,
)
from mininet_lab.mail.files import File

PROGRAMS = Path("/usr/lib/postfix/sbin")

#: A client that waits longer than this for a dead smtp_pop would rather hear 'try again'.
PROXY_TIMEOUT = "5s"

_COMMON_SERVICES = (
    "rewrite    unix  -       -       n       -       -       trivial-rewrite",
    "proxymap   unix  -       -       n       -       -       proxymap",
    "postlog    unix-dgram n  -       n       -       1       postlogd",
)
_QUEUE_SERVICES = (
    "pickup     unix  n       -       n       60      1       pickup",
    "cleanup    unix  n       -       n       -       0       cleanup",
    "qmgr       unix  n       -       n       300     1       qmgr",
    "bounce     unix  -       -       n       -       0       bounce",
    "defer      unix  -       -       n       -       0       bounce",
    "trace      unix  -       -       n       -       0       bounce",
    "showq      unix  n       -       n       -       -       showq",
    "error      unix  -       -       n       -       -       error",
    "retry      unix  -       -       n       -       -       error",
    "scache     unix  -       -       n       -       1       scache",
    "smtp       unix  -       -       n       -       -       smtp",
    "lmtp       unix  -       -       n       -       -       lmtp",
    "virtual    unix  -       n       n       -       -       virtual",
)


def relay_files(
    site: Site, mail: MailSite, role: Role, directory: Path, queue: Path
) -> dict[Path, File]:
    """mailrelay: takes mail for our domain from anybody, and says 250 only after smtp_pop did.

    `smtpd_proxy_filter` passes each SMTP transaction on while it happens, so nothing that has
    been acknowledged is ever held here. There is no queue manager and no cleanup service: a
    mistake in the configuration cannot make this role own a mail.
    """
    peer = peer_of(site, role)
    outside = addresses_on(role, _segment_of(role, "smtp"))
    inside = addresses_on(peer, _segment_of(peer, "smtp"))
    services = [
        _smtpd(
            address, 25, {"smtpd_proxy_filter": f"{bracketed(_same_family(address, inside))}:25"}
        )
        for address in outside
    ]
    parameters = _common("mailrelay", mail.domain, all_addresses(role), directory, queue) | {
        "mynetworks": "",
        "relay_domains": mail.domain,
        "relay_recipient_maps": "",
        "smtpd_relay_restrictions": "reject_unauth_destination",
        "smtpd_recipient_restrictions": "reject_unauth_destination",
        "smtpd_proxy_timeout": PROXY_TIMEOUT,
        "smtpd_discard_ehlo_keywords": "chunking, dsn, etrn, silent-discard",
    }
    return _files(directory, parameters, (*services, *_COMMON_SERVICES))


def spool_files(
    site: Site, mail: MailSite, role: Role, directory: Path, *, queue: Path, sockets: Path
) -> dict[Path, File]:
    """smtp_pop: takes mail from clients and mailrelay, delivers to mailboxes, sends to the WAN.

    The queue lies on the spool: it moves with the role. Mail for users goes by LMTP to the
    delivery program's socket; submission asks Dovecot about passwords. mailrelay may hand over
    mail for our domain only, so it is no open relay even if it were broken into.
    """
    segment = _segment_of(role, "smtp")
    inside = addresses_on(role, segment)
    relays = [
        a for r in site.roles.values() if _hands_to(r, role) for a in addresses_on(r, segment)
    ]
    outside = [a for c in role.connects for a in addresses_on(role, c.segment)]
    networks = [_network(str(n)) for n in site.network.segments[segment].networks]
    submission = {
        "smtpd_relay_restrictions": "permit_sasl_authenticated,reject",
        "smtpd_sasl_auth_enable": "yes",
    }
    services = [_smtpd(a, 25) for a in inside] + [_smtpd(a, 587, submission) for a in inside]
    parameters = _common("smtp-pop", mail.domain, all_addresses(role), directory, queue) | {
        "mynetworks": ", ".join([f"!{_network(a)}" for a in relays] + networks),
        "smtpd_authorized_xforward_hosts": ", ".join(_network(a) for a in relays),
        "smtpd_relay_restrictions": "permit_mynetworks, reject_unauth_destination",
        "smtpd_discard_ehlo_keywords": "chunking, etrn, silent-discard",
        "smtpd_sasl_type": "dovecot",
        "smtpd_sasl_path": f"{sockets}/auth-postfix",
        "virtual_mailbox_domains": mail.domain,
        "virtual_mailbox_maps": f"texthash:{directory}/users",
        "virtual_transport": f"lmtp:unix:{sockets}/delivery",
        "relayhost": ", ".join(f"[{a}]" for a in mail.wan.addresses),
        "smtp_bind_address": next((a for a in outside if not is_ipv6(a)), ""),
        "smtp_bind_address6": next((a for a in outside if is_ipv6(a)), ""),
    }
    users = {directory / "users": File(_mailboxes(mail.domain, (u.name for u in mail.users)))}
    return users | _files(directory, parameters, (*services, *_COMMON_SERVICES, *_QUEUE_SERVICES))


def wan_files(wan: Wan, directory: Path, *, queue: Path, mailboxes: Path) -> dict[Path, File]:
    """The WAN's mail host: Postfix's own delivery into Maildirs; unknown users are refused."""
    parameters = _common("mail", wan.domain, wan.addresses, directory, queue) | {
        "mynetworks": "",
        "smtpd_relay_restrictions": "reject_unauth_destination",
        "virtual_mailbox_domains": wan.domain,
        "virtual_mailbox_maps": f"texthash:{directory}/users",
        "virtual_mailbox_base": str(mailboxes),
        "virtual_uid_maps": f"static:{MAIL_UID}",
        "virtual_gid_maps": f"static:{MAIL_UID}",
        "virtual_transport": "virtual",
    }
    users = {directory / "users": File(_mailboxes(wan.domain, wan.mailboxes))}
    services = [_smtpd(address, 25) for address in wan.addresses]
    return users | _files(directory, parameters, (*services, *_COMMON_SERVICES, *_QUEUE_SERVICES))


def _common(
    host: str, domain: str, addresses: Iterable[str], directory: Path, queue: Path
) -> dict[str, str]:
    logs = directory.parent / "log"
    return {
        "compatibility_level": "3.6",
        "myhostname": f"{host}.{domain}",
        "mydomain": domain,
        "queue_directory": str(queue),
        "data_directory": str(directory.parent / "postfix-data"),
        "daemon_directory": str(PROGRAMS),
        "maillog_file": f"{logs}/postfix.log",
        "maillog_file_prefixes": str(logs),
        "inet_protocols": "all",
        "inet_interfaces": ", ".join(addresses),
        "smtp_dns_support_level": "disabled",
        "smtpd_peername_lookup": "no",
        "mydestination": "",
        "local_recipient_maps": "",
        "alias_maps": "",
        "alias_database": "",
        "fast_flush_domains": "",
        "biff": "no",
        "notify_classes": "",
        "disable_vrfy_command": "yes",
        "smtpd_helo_required": "yes",
        "smtpd_forbid_bare_newline": "yes",
        "smtpd_data_restrictions": "reject_unauth_pipelining",
        # Meters in the switches limit clients; mailrelay would be one very busy client.
        "smtpd_client_connection_count_limit": "0",
        "smtpd_client_connection_rate_limit": "0",
        "in_flow_delay": "0s",
        "queue_run_delay": "2s",
        "minimal_backoff_time": "1s",
        "maximal_backoff_time": "4s",
        "smtp_connect_timeout": "3s",
        # Submission cannot begin while Dovecot's logins are away, and would rest for a minute.
        "service_throttle_time": "1s",
    }


def _files(
    directory: Path, parameters: Mapping[str, str], services: Iterable[str]
) -> dict[Path, File]:
    main = "".join(f"{name} = {value}".rstrip() + "\n" for name, value in parameters.items())
    return {
        directory / "main.cf": File(main),
        directory / "master.cf": File("".join(f"{line}\n" for line in services)),
    }


def _smtpd(address: str, port: int, options: Mapping[str, str] | None = None) -> str:
    settings = "".join(f"\n  -o {name}={value}" for name, value in (options or {}).items())
    return f"{bracketed(address)}:{port} inet n - n - - smtpd{settings}"


def _mailboxes(domain: str, names: Iterable[str]) -> str:
    return "".join(f"{name}@{domain} {name}/\n" for name in names)


def _segment_of(role: Role, service: str) -> str:
    for candidate in role.services:
        if candidate.name == service:
            return candidate.segment
    raise ValueError(f"role {role.name} has no service {service}")


def _hands_to(role: Role, peer: Role) -> bool:
    return any(peer.name in connection.roles for connection in role.connects)


def _same_family(address: str, among: tuple[str, ...]) -> str:
    """Of `among`, the address of the same family, or the first where there is none."""
    return next((a for a in among if is_ipv6(a) == is_ipv6(address)), among[0])


def _network(text: str) -> str:
    """As Postfix wants it: only the address of an IPv6 network in brackets."""
    address, slash, length = text.partition("/")
    return f"{bracketed(address)}{slash}{length}"
