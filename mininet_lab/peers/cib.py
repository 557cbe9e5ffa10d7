"""Pacemaker's configuration (the CIB), as XML: which resources there are, where they should be, and
in which order they start. Elements: Pacemaker Explained, 2.1."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from xml.etree import ElementTree
from xml.etree.ElementTree import Element, SubElement

from hactrl.site.model import Role, Site
from mininet_lab.mail import delivery
from mininet_lab.mail.description import MailSite, addresses_on, is_ipv6
from mininet_lab.mail.rendering import python
from mininet_lab.peers.agents import FENCE_AGENT
from mininet_lab.peers.tuning import CLUSTER_OPTIONS, Tuning

#: Where every server has its own files, and its disk: the same path on all.
HOME = Path("/run/mail")
DISK = Path("/run/spool-disk")

#: Operations as the agents' metadata suggest them: interval of the check, and timeouts of check,
#: start and stop.
_SUGGESTED = {
    "Filesystem": ("20s", "40s", "60s", "60s"),
    "IPaddr2": ("10s", "20s", "20s", "20s"),
    "anything": ("10s", "20s", "20s", "20s"),
    "dovecot": ("60s", "20s", "20s", "20s"),
    "postfix": ("60s", "20s", "20s", "20s"),
}
#: Our own agent's check; a start within it is what hactrl's `assume_deadline` allows.
_OWN_TIMEOUTS = ("5s", "20s", "20s")

#: A role's home. Stickiness, where there is any, is of more weight.
_PREFERENCE = "50"

#: What each port greets with.
_GREETINGS = {25: "220", 110: "+OK", 143: "* OK"}


@dataclass(frozen=True)
class Resource:
    """A primitive: `agent` is `PROVIDER:TYPE`. `first` must have started before it may."""

    name: str
    agent: str
    parameters: Mapping[str, str]
    first: tuple[str, ...] = field(default=())


def resources(role: Role, tuning: Tuning, mail: MailSite) -> list[Resource]:
    """What plays a role, in the order in which it starts.

    Raises:
        ValueError: it is a role that is not mail's.
    """
    places = [*_spool(role), *_addresses(role, tuning)]
    if tuning.own_agents:
        names = tuple(place.name for place in places)
        return places + [_own(role, daemon, mail, names) for daemon in _DAEMONS[role.name]]
    return places + [_debians(role, daemon, mail) for daemon in _DAEMONS[role.name]]


_DAEMONS = {"smtp_pop": ("delivery", "dovecot", "postfix"), "mailrelay": ("postfix",)}


def _spool(role: Role) -> Iterator[Resource]:
    if role.owns:
        options = {"device": str(DISK), "directory": str(HOME / role.name / "spool")}
        options |= {"fstype": "ext4", "options": "noatime,nodev,nosuid,noexec"}
        yield Resource("spool", "heartbeat:Filesystem", options)


def _addresses(role: Role, tuning: Tuning) -> Iterator[Resource]:
    """IPaddr2 finds the card by the server's own address in the same network."""
    for segment in role.segments:
        for address in addresses_on(role, segment):
            options = {"ip": address, "cidr_netmask": "64" if is_ipv6(address) else "24"}
            if is_ipv6(address) and tuning.own_agents:
                # ocf_heartbeat_IPaddr2(7): duplicates are looked for, for a second, if not told
                # otherwise. Who had it is proven off.
                options["nodad"] = "true"
                # There too: advertisements are sent one after the other, for a second, before the
                # start is over, if not told otherwise as for IPv4.
                options["arp_bg"] = "true"
            name = f"{role.name}-{segment}-{6 if is_ipv6(address) else 4}"
            yield Resource(name, "heartbeat:IPaddr2", options)


def _debians(role: Role, daemon: str, mail: MailSite) -> Resource:
    """Those for Dovecot and Postfix look whether the master process is there, and cannot notice
    that it hangs."""
    home = HOME / role.name
    name = f"{role.name}-{daemon}"
    if daemon == "delivery":
        program, *words = deliver(role, mail)
        return Resource(
            name,
            "heartbeat:anything",
            {
                "binfile": program,
                "cmdline_options": " ".join(words),
                "logfile": str(home / "log/delivery.log"),
            },
        )
    if daemon == "dovecot":
        # The agent passes its `config_file` on only if a variable is set that it never sets.
        options = {
            "config_file": str(home / "dovecot.conf"),
            "parameters": f"-c {home}/dovecot.conf",
            "pid_file": str(home / "run/dovecot/master.pid"),
        }
        return Resource(name, "heartbeat:dovecot", options)
    return Resource(name, "heartbeat:postfix", {"config_dir": str(home / "postfix")})


def _own(role: Role, daemon: str, mail: MailSite, first: tuple[str, ...]) -> Resource:
    home = HOME / role.name
    options = {"daemon": daemon, "home": str(home)}
    if daemon == "delivery":
        options["command"] = " ".join(deliver(role, mail))
    else:
        options["greetings"] = _greetings(role, daemon)
    if daemon == "postfix":
        options["queue"] = str(home / ("spool/queue" if role.owns else "queue"))
    return Resource(f"{role.name}-{daemon}", "lab:service", options, first)


def deliver(role: Role, mail: MailSite) -> list[str]:
    """The command that runs the delivery program."""
    home = HOME / role.name
    arguments = [str(home / "run/delivery"), str(home / "spool"), mail.fsync.value]
    return [*python(delivery.__file__), *arguments]


def _greetings(role: Role, daemon: str) -> str:
    """Not of submission: there Postfix greets only where Dovecot does, and need not be restarted
    with it."""
    ports = (110, 143) if daemon == "dovecot" else (25,)
    return ";".join(
        f"{address} {service.port} {_GREETINGS[service.port]}"
        for service in role.services
        for address in addresses_on(role, service.segment)
        if service.port in ports
    )


def cib(site: Site, mail: MailSite, tuning: Tuning, servers: Sequence[str]) -> str:
    """The whole of it, for a cluster that has never run."""
    root = Element("cib", admin_epoch="0", epoch="1", num_updates="0")
    root.set("validate-with", "pacemaker-3.9")
    configuration = SubElement(root, "configuration")
    options = {**CLUSTER_OPTIONS, "cluster-name": "lab", **tuning.options}
    properties = SubElement(SubElement(configuration, "crm_config"), "cluster_property_set")
    properties.set("id", "options")
    _nvpairs(properties, options)
    nodes = SubElement(configuration, "nodes")
    for number, server in enumerate(servers, 1):
        SubElement(nodes, "node", id=str(number), uname=server)
    all_resources = SubElement(configuration, "resources")
    constraints = SubElement(configuration, "constraints")
    _fence(all_resources, servers)
    for name in _DAEMONS:
        role = site.roles[name]
        played = resources(role, tuning, mail)
        _add_role(all_resources, constraints, role, played, tuning)
    if tuning.stickiness is not None:
        defaults = SubElement(configuration, "rsc_defaults")
        meta = SubElement(defaults, "meta_attributes", id="resource-defaults")
        _nvpairs(meta, {"resource-stickiness": str(tuning.stickiness)})
    SubElement(root, "status")
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="unicode") + "\n"


def _fence(parent: Element, servers: Sequence[str]) -> None:
    """One device for each server, which the other uses: a switch with a port for each.

    Pacemaker Explained recommends a delay for one of two that may fence each other at once
    (`pcmk_delay_base`, `priority-fencing-delay`). No failure here parts two that live, and a delay
    would only slow Pacemaker down.
    """
    for server in servers:
        device = SubElement(parent, "primitive", id=f"power-{server}", type=FENCE_AGENT)
        device.set("class", "stonith")
        attributes = SubElement(device, "instance_attributes", id=f"power-{server}-parameters")
        wanted = {"port": server, "pcmk_host_list": server, "pcmk_host_check": "static-list"}
        _nvpairs(attributes, wanted)


def _add_role(
    parent: Element,
    constraints: Element,
    role: Role,
    played: Sequence[Resource],
    tuning: Tuning,
) -> None:
    """By Debian's agents a group: together, one after the other. By ours, what need not wait for
    each other begins at once, and one that is restarted stops no other."""
    if not tuning.own_agents:
        parent = SubElement(parent, "group", id=role.name)
    for resource in played:
        _primitive(parent, resource, tuning)
    if not tuning.own_agents:
        _prefer(constraints, role, role.name)
        return
    _prefer(constraints, role, played[0].name)
    for resource in played[1:]:
        constraint = SubElement(constraints, "rsc_colocation", id=f"with-{resource.name}")
        constraint.attrib |= {"rsc": resource.name, "with-rsc": played[0].name, "score": "INFINITY"}
    for resource in played:
        for first in resource.first:
            constraint = SubElement(constraints, "rsc_order", id=f"{first}-then-{resource.name}")
            constraint.attrib |= {"first": first, "then": resource.name}


def _prefer(constraints: Element, role: Role, name: str) -> None:
    place = SubElement(constraints, "rsc_location", id=f"home-of-{name}", rsc=name)
    place.attrib |= {"node": role.servers[0], "score": _PREFERENCE}


def _primitive(parent: Element, resource: Resource, tuning: Tuning) -> None:
    provider, kind = resource.agent.split(":")
    primitive = SubElement(parent, "primitive", id=resource.name, provider=provider, type=kind)
    primitive.set("class", "ocf")
    attributes = SubElement(primitive, "instance_attributes", id=f"{resource.name}-parameters")
    _nvpairs(attributes, resource.parameters)
    interval, check, start, stop = _SUGGESTED.get(kind, (tuning.check_interval, *_OWN_TIMEOUTS))
    operations = SubElement(primitive, "operations")
    for name, every, timeout in (
        ("monitor", interval, check),
        ("start", "0s", start),
        ("stop", "0s", stop),
    ):
        operation = SubElement(operations, "op", id=f"{resource.name}-{name}", name=name)
        operation.attrib |= {"interval": every, "timeout": timeout}


def _nvpairs(parent: Element, pairs: Mapping[str, str]) -> None:
    for name, value in pairs.items():
        SubElement(parent, "nvpair", id=f"{parent.get('id')}-{name}", name=name, value=value)
