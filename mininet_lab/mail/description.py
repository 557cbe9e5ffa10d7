"""What the lab's mail needs beyond the site file: domains, users, and the WAN's side."""

from __future__ import annotations

from base64 import b64encode
from dataclasses import dataclass
from enum import Enum
from hashlib import sha256, sha512

from hactrl.site.model import Role, RoleAddress, Site

#: Numeric owner of all mailboxes. No account of that name is needed.
MAIL_UID = 5000


class Fsync(Enum):
    """Dovecot's `mail_fsync`, obeyed by our delivery program too. NEVER is the negative control:
    a power cut then loses acknowledged mail."""

    OPTIMIZED = "optimized"
    NEVER = "never"


@dataclass(frozen=True)
class User:
    """A mailbox of the site, with the password that its owner uses."""

    name: str
    password: str

    @property
    def password_hash(self) -> str:
        """As in Dovecot's passwd-file: SSHA512, the salt derived so that rendering is pure."""
        salt = sha256(f"salt of {self.name}".encode()).digest()[:8]
        digest = sha512(self.password.encode() + salt).digest()
        return "{SSHA512}" + b64encode(digest + salt).decode()


@dataclass(frozen=True)
class Wan:
    """The mail host of the outside world: its domain, mailboxes, and one address a family."""

    domain: str = "wan.example"
    mailboxes: tuple[str, ...] = ("friend1", "friend2", "friend3", "friend4")
    addresses: tuple[str, ...] = ("192.0.2.1", "2001:db8:0:1::1")


@dataclass(frozen=True)
class MailSite:
    """The site's mail. `Wan` is where everything goes that is not for `domain`."""

    domain: str = "frontier.example"
    users: tuple[User, ...] = tuple(User(f"user{n}", f"secret of user{n}") for n in range(1, 9))
    wan: Wan = Wan()
    fsync: Fsync = Fsync.OPTIMIZED


def addresses_on(role: Role, segment: str) -> tuple[str, ...]:
    """The role's service addresses on a segment, IPv4 before IPv6.

    Raises:
        ValueError: the role has none there.
    """
    found = [str(a) for entry in _on(role, segment) for a in entry.addresses]
    if not found:
        raise ValueError(f"role {role.name} has no service address on segment {segment}")
    return tuple(sorted(found, key=is_ipv6))


def all_addresses(role: Role) -> tuple[str, ...]:
    """The role's service addresses on all segments."""
    return tuple(str(a) for entry in role.addresses for a in entry.addresses)


def peer_of(site: Site, role: Role) -> Role:
    """The role that this role hands its mail to, as its `connects` says.

    Raises:
        ValueError: `connects` names no role.
    """
    for connection in role.connects:
        for name in connection.roles:
            return site.roles[name]
    raise ValueError(f"role {role.name}: 'connects' names no role to hand mail to")


def is_ipv6(address: str) -> bool:
    return ":" in address


def bracketed(address: str) -> str:
    """An address as Postfix and Dovecot want it before a port: IPv6 in brackets."""
    return f"[{address}]" if is_ipv6(address) else address


def _on(role: Role, segment: str) -> tuple[RoleAddress, ...]:
    return tuple(entry for entry in role.addresses if entry.segment == segment)
