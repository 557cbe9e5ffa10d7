"""The shape of a site file. What names refer to is checked in `hactrl.site.check`.

Every key that may be left out has its default here, except the timers, whose defaults are those
of `hactrl.site.model.Timers`, and probe settings, which are taken from the timers.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sized
from ipaddress import ip_address, ip_network
from math import inf
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    InstanceOf,
    StringConstraints,
    ValidationInfo,
    create_model,
    model_validator,
)
from pydantic_core import PydanticCustomError

from hactrl.site.errors import closest
from hactrl.site.model import Listen, Timers
from hactrl.vocabulary import ProbeKind
from topology.model import POLICIES, Address, Attachment, Subnet

#: Units of durations, in seconds.
UNITS = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}

#: Units of bandwidths, in bits a second.
BANDWIDTHS = {"k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}

#: What a probe can be; see `hactrl.site.model.ProbeSettings`.
PROBE_KINDS = tuple(kind.value for kind in ProbeKind)

PROTOCOLS = ("tcp", "udp")
FAILBACKS = ("manual", "automatic")

#: Of a switch: no more than have numbers there (`flows.backbone.locators`).
MOST_CLIENTS = 1 << 23

#: Of a link, as OSPF's (RFC 2328, A.4.2: 16 bits).
HIGHEST_COST = 65535

#: Port numbers above are reserved, OpenFlow 1.3.5, section A.2.1 (OFPP_MAX).
HIGHEST_PORT = 0xFFFFFF00


def _wrong(what: str, expected: str, suggestion: str = "") -> PydanticCustomError:
    context = {"what": what, "expected": expected, "suggestion": suggestion}
    return PydanticCustomError("wrong", "{what}", context)


def _one_of(choices: tuple[str, ...], what: str) -> BeforeValidator:
    def check(value: object) -> str:
        if value not in choices:
            expected = "one of " + ", ".join(choices)
            raise _wrong(f"{value!r} is no {what}", expected, closest(value, choices))
        return str(value)

    return BeforeValidator(check)


def _duration(value: object) -> float:
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([a-z]+)", value) if isinstance(value, str) else None
    if match is None or match[2] not in UNITS:
        units = ", ".join(UNITS)
        raise _wrong(f"{value!r} is no duration", f"a number with a unit ({units}), like 250ms")
    return round(float(match[1]) * UNITS[match[2]], 6)


def _positive_duration(value: object) -> float:
    return _duration_within(value, "a duration from 1ms to 24h")


def _duration_within(value: object, expected: str) -> float:
    seconds = _duration(value)
    if not 0.001 <= seconds <= 86400:
        raise _wrong(f"{value!r} is out of range", expected)
    return seconds


def _duration_or_none(value: object) -> float | None:
    if value is None or value == "none":
        return None
    return _duration_within(value, "a duration from 1ms to 24h, or none")


def _lease(value: object) -> float | None:
    if value is None or value == "none":
        return None
    seconds = _duration(value)
    if not 0.5 <= seconds <= 3600:
        raise _wrong(f"{value!r} is out of range", "a lease from 500ms to 1h, or none")
    return seconds


def _bandwidth(value: object) -> int:
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([kMGT])", value) if isinstance(value, str) else None
    bits = float(match[1]) * BANDWIDTHS[match[2]] if match else 0.0
    if not 0.5 < bits < inf:
        units = ", ".join(BANDWIDTHS)
        raise _wrong(f"{value!r} is no bandwidth", f"bits a second with a unit ({units}), like 10G")
    return round(bits)


def _mac(value: object) -> str:
    if not isinstance(value, str) or not re.fullmatch(r"(?i)[0-9a-f]{2}(:[0-9a-f]{2}){5}", value):
        raise _wrong(f"{value!r} is no MAC address", "six octets like 02:00:00:00:01:0a")
    if int(value[:2], 16) & 1 or not int(value.replace(":", ""), 16):
        raise _wrong(f"{value!r} is not the address of one card", "a unicast MAC address")
    return value.lower()


def _attachment(value: object) -> Attachment:
    match = re.fullmatch(r"(.+):(\d{1,10})", value) if isinstance(value, str) else None
    if match is None:
        raise _wrong(f"{value!r} is no attachment", "switch:port, like o1:2")
    if not 1 <= int(match[2]) <= HIGHEST_PORT:
        raise _wrong(f"{match[2]} is no port of a switch", f"a port from 1 to {HIGHEST_PORT}")
    return Attachment(match[1], int(match[2]))


def _address(value: object) -> Address:
    try:
        address = ip_address(value) if isinstance(value, str) else None
    except ValueError:
        address = None
    if address is None:
        raise _wrong(f"{value!r} is no IP address", "an IPv4 or IPv6 address")
    if address.is_multicast or address.is_loopback or address.is_unspecified:
        raise _wrong(f"{address} is not the address of one host", "a unicast address")
    return address


def _subnet(value: object) -> Subnet:
    try:
        return ip_network(value if isinstance(value, str) else "", strict=True)
    except ValueError:
        pass
    try:
        network = ip_network(value if isinstance(value, str) else "", strict=False)
    except ValueError:
        raise _wrong(f"{value!r} is no network", "like 10.0.0.0/24 or 2001:db8::/64") from None
    raise _wrong(f"{value} has bits set behind its prefix", str(network))


def _datapath(value: object) -> int:
    if type(value) is int and 1 <= value < 1 << 64:
        return value
    raise _wrong(f"{value!r} is no datapath id", "a number from 1 to 64 bits, like 0x11")


def _listen(value: object) -> Listen:
    match = (
        re.fullmatch(r"(?:\[([0-9A-Fa-f:.]+)\]|([^\s:\[\]]+)):(\d{1,5})", value)
        if isinstance(value, str)
        else None
    )
    if match is None or not 1 <= int(match[3]) <= 65535:
        raise _wrong(f"{value!r} is no place to listen", "host:port, like 127.0.0.1:6653")
    return Listen(match[1] or match[2], int(match[3]))


def _host(value: object) -> str:
    if isinstance(value, str) and re.fullmatch(r"[0-9A-Za-z._-]+|[0-9A-Fa-f:.]+", value):
        return value
    raise _wrong(
        f"{value!r} is no name of a host",
        "a name or address without port, like hactrl.example.org",
    )


def _not_empty(value: Sized, info: ValidationInfo) -> Sized:
    """Unless faults have been cut out, which may have emptied it."""
    if not value and not (info.context or {}).get("cut"):
        raise _wrong("nothing stands here", "at least one")
    return value


NOT_EMPTY = AfterValidator(_not_empty)
Duration = Annotated[float, BeforeValidator(_positive_duration)]
DurationOrNone = Annotated[float | None, BeforeValidator(_duration_or_none)]
Lease = Annotated[float | None, BeforeValidator(_lease)]
Bandwidth = Annotated[int, BeforeValidator(_bandwidth)]
Mac = Annotated[str, BeforeValidator(_mac)]
Place = Annotated[InstanceOf[Attachment], BeforeValidator(_attachment)]
IpAddress = Annotated[Any, BeforeValidator(_address)]
IpNetwork = Annotated[Any, BeforeValidator(_subnet)]
Socket = Annotated[InstanceOf[Listen], BeforeValidator(_listen)]
HostName = Annotated[str, BeforeValidator(_host)]
DatapathId = Annotated[int, BeforeValidator(_datapath)]
TcpPort = Annotated[int, Field(ge=1, le=65535)]
Count = Annotated[int, Field(ge=1, le=100)]
Text = Annotated[str, Field(min_length=1)]

#: Names of sites, segments, switches, servers, roles, services and resources: they become parts
#: of URLs, of namespaces' and of files' names.
Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z][A-Za-z0-9_.-]{0,31}$")]

#: Names of cards may carry primes, as in the report.
CardName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z][A-Za-z0-9_.'-]{0,31}$")]


class Part(BaseModel):
    """A mapping of the file: no unknown key, and no value converted from another kind."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, populate_by_name=False)


class SwitchPart(Part):
    """`ports`: how many the switch has, if attachments shall be checked against it. `clients`: how
    much its hosts ask of file servers, compared with those of other switches."""

    datapath_id: DatapathId
    ports: Annotated[int, Field(ge=1, le=HIGHEST_PORT)] | None = None
    clients: Annotated[int, Field(ge=0, le=MOST_CLIENTS)] = 1


class LinkPart(Part):
    """A link is written [switch:port, switch:port], or with `ends` and `cost` or `bandwidth`."""

    ends: Annotated[list[Place], Field(min_length=2, max_length=2)]
    cost: Annotated[int, Field(ge=1, le=HIGHEST_COST)] | None = None
    bandwidth: Bandwidth | None = None

    @model_validator(mode="before")
    @classmethod
    def _short_form(cls, value: object) -> object:
        return {"ends": value} if isinstance(value, list) else value


class ProberPart(Part):
    attachment: Place
    mac: Mac
    addresses: list[IpNetwork]


class SegmentPart(Part):
    """`backbone`: it carries file servers and their clients. `discover`: links of a backbone that
    are seen and not declared are used too. `reference_bandwidth`: that of a link which costs 1, the
    greatest of the links where it is left out."""

    backbone: bool = False
    discover: bool = False
    reference_bandwidth: Bandwidth | None = None
    networks: Annotated[list[IpNetwork], NOT_EMPTY]
    switches: Annotated[dict[Name, SwitchPart], NOT_EMPTY]
    links: list[LinkPart] = []
    prober: ProberPart | None = None

    @property
    def bandwidths(self) -> list[int]:
        """Of the links that have one."""
        return [link.bandwidth for link in self.links if link.bandwidth is not None]

    def cost_of(self, link: LinkPart) -> int:
        """What a path pays to cross a link: its `cost`; or how often its bandwidth goes into the
        reference, to the nearest whole number, and at least 1; or 1."""
        if link.bandwidth is None:
            return 1 if link.cost is None else link.cost
        reference = self.reference_bandwidth or max(self.bandwidths)
        return max(1, (2 * reference + link.bandwidth) // (2 * link.bandwidth))


class InterfacePart(Part):
    segment: str
    attachment: Place
    mac: Mac
    redundant_for: str | None = None


class PowerFencePart(Part):
    """`timeout` is `fence_deadline` of the timers where it is left out."""

    command: Annotated[list[Text], NOT_EMPTY]
    timeout: Duration | None = None


class ServerPart(Part):
    interfaces: Annotated[dict[CardName, InterfacePart], NOT_EMPTY]
    power_fence: PowerFencePart | None = None

    @property
    def has_fence(self) -> bool:
        """As `Site.has_fence`, before there is a site."""
        return self.power_fence is not None


class ResourcePart(Part):
    """A resource has a name only; what it is, the agents' own files say."""


class RoleAddressPart(Part):
    """`mac` is derived from role and segment where it is left out."""

    addresses: Annotated[list[IpAddress], NOT_EMPTY]
    mac: Mac | None = None


class ProbePart(Part):
    """`kind` is tcp for a TCP service and icmp for others where it is left out."""

    kind: Annotated[str, _one_of(PROBE_KINDS, "kind of probe")] | None = None
    interval: Duration | None = None
    timeout: Duration | None = None
    rise: Count | None = None
    fall: Count | None = None


class ProbedPart(Part):
    """What is common to services of roles and of file servers. Everybody may reach the latter."""

    protocol: Annotated[str, _one_of(PROTOCOLS, "protocol")] = "tcp"
    port: TcpPort
    probe: ProbePart = ProbePart()


class ServicePart(ProbedPart):
    segment: str
    sources: Annotated[list[str], NOT_EMPTY, Field(alias="from")]


class FileInterfacePart(Part):
    attachment: Place
    mac: Mac


class FileServerPart(Part):
    """`mac` is derived from file server and segment where it is left out. Without services an
    interface is live while its port is up. `policy`: which interface a client is brought to."""

    segment: str
    policy: Annotated[str, _one_of(POLICIES, "policy")] = "nearest"
    mac: Mac | None = None
    addresses: Annotated[list[IpAddress], NOT_EMPTY]
    interfaces: Annotated[dict[CardName, FileInterfacePart], NOT_EMPTY]
    services: dict[Name, ProbedPart] = {}


class ConnectionPart(Part):
    segment: str
    protocol: Annotated[str, _one_of(PROTOCOLS, "protocol")] = "tcp"
    port: TcpPort
    destinations: Annotated[list[str], NOT_EMPTY, Field(alias="to")]


class RolePart(Part):
    servers: Annotated[list[str], NOT_EMPTY]
    addresses: Annotated[dict[str, RoleAddressPart], NOT_EMPTY]
    services: Annotated[dict[Name, ServicePart], NOT_EMPTY]
    connects: list[ConnectionPart] = []
    owns: list[str] = []
    lease: Lease = None
    failback: Annotated[str, _one_of(FAILBACKS, "way of failback")] = "manual"


class OpenFlowPart(Part):
    listen: Socket = Listen("127.0.0.1", 6653)


class AgentsPart(Part):
    listen: Socket = Listen("127.0.0.1", 6655)
    tokens: Text = "/etc/hactrl/agent-tokens"


class RestPart(Part):
    listen: Socket = Listen("127.0.0.1", 8080)
    token: Text = "/etc/hactrl/operator-token"
    hosts: list[HostName] = []


class ControllerPart(Part):
    openflow: OpenFlowPart = OpenFlowPart()
    agents: AgentsPart = AgentsPart()
    rest: RestPart = RestPart()
    store: Text = "/var/lib/hactrl/hactrl.sqlite"


def _timer_type(timer: dataclasses.Field[Any]) -> Any:
    if "None" in str(timer.type):
        return DurationOrNone
    return Count if isinstance(timer.default, int) else Duration


_TIMERS: dict[str, Any] = {
    timer.name: (_timer_type(timer), timer.default) for timer in dataclasses.fields(Timers)
}

if TYPE_CHECKING:
    TimersPart = Part
else:
    #: One key for each field of `Timers`, so that neither can know one that the other does not.
    TimersPart = create_model("TimersPart", __base__=Part, **_TIMERS)


class SitePart(Part):
    """The whole file. It may do without roles or without file servers, not without both."""

    site: Name
    segments: Annotated[dict[Name, SegmentPart], NOT_EMPTY]
    servers: dict[Name, ServerPart] = {}
    resources: dict[Name, ResourcePart] = {}
    roles: dict[Name, RolePart] = {}
    file_servers: dict[Name, FileServerPart] = {}
    controller: ControllerPart = ControllerPart()
    timers: TimersPart = TimersPart()

    def effective_timers(self) -> Timers:
        """What the file says of timers, over their defaults."""
        return Timers(**self.timers.model_dump())

    def service_addresses(self, segment: str) -> list[tuple[str, Address]]:
        """The service addresses on a segment, each with its role or file server."""
        found: list[tuple[str, Address]] = []
        for role, part in self.roles.items():
            if segment in part.addresses:
                found += [(role, address) for address in part.addresses[segment].addresses]
        for name, server in self.file_servers.items():
            if server.segment == segment:
                found += [(name, address) for address in server.addresses]
        return found
