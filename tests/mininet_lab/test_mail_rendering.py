"""One description of a role yields the configuration of both servers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from hactrl.site import load
from mininet_lab.mail.description import Fsync, MailSite
from mininet_lab.mail.rendering import Rendering, render, render_wan

SITE = load(Path(__file__).parents[2] / "examples" / "frontier.yaml")
MAIL = MailSite()


def rendered(role: str, server: str = "smtp_pop", mail: MailSite = MAIL) -> Rendering:
    device = Path("/dev/loop-of", server)
    return render(SITE, mail, role, server, Path("/lab", server), spool=device)


def text(rendering: Rendering, name: str) -> str:
    (found,) = [file.text for path, file in rendering.files.items() if path.name == name]
    return found


def parameters(rendering: Rendering) -> dict[str, str]:
    lines = text(rendering, "main.cf").splitlines()
    return {name.strip(): value.strip() for name, _, value in (x.partition("=") for x in lines)}


@pytest.mark.parametrize("role", ["smtp_pop", "mailrelay", "web"])
def test_both_servers_differ_in_directory_device_and_name_only(role: str) -> None:
    def neutral(server: str) -> str:
        everything = repr(rendered(role, server))
        for ours in (f"/lab/{server}", f"/dev/loop-of/{server}", f"'{server}', '10.0.0.80"):
            everything = everything.replace(ours, "#")
        return everything

    assert neutral("smtp_pop") == neutral("mailrelay")


def test_queue_and_mailboxes_of_smtp_pop_lie_on_the_spool() -> None:
    spool = "/lab/smtp_pop/smtp_pop/spool"
    assert parameters(rendered("smtp_pop"))["queue_directory"] == f"{spool}/queue"
    assert f"mail_location = maildir:{spool}/mail/%n" in text(rendered("smtp_pop"), "dovecot.conf")


def test_mailrelay_has_nothing_that_could_queue_a_mail() -> None:
    services = {line.split()[-1] for line in text(rendered("mailrelay"), "master.cf").splitlines()}
    assert not services & {"cleanup", "qmgr", "pickup", "smtp", "lmtp", "virtual", "local"}


def test_mailrelay_passes_each_family_on_in_the_same_family() -> None:
    master = text(rendered("mailrelay"), "master.cf")
    assert "192.0.2.25:25 inet n - n - - smtpd\n  -o smtpd_proxy_filter=10.0.0.25:25\n" in master
    assert "[2001:db8:0:1::25]:25 inet" in master
    assert "smtpd_proxy_filter=[2001:db8:0:2::25]:25" in master


def test_mailrelay_does_not_listen_inside() -> None:
    assert "10.0.0.24:25" not in text(rendered("mailrelay"), "master.cf")


def test_mailrelay_takes_mail_for_our_domain_only() -> None:
    wanted = {"mynetworks": "", "relay_domains": MAIL.domain}
    assert parameters(rendered("mailrelay")).items() >= wanted.items()
    assert parameters(rendered("mailrelay"))["smtpd_relay_restrictions"] == (
        "reject_unauth_destination"
    )


def test_smtp_pop_does_not_trust_mailrelay_to_send_outside() -> None:
    networks = parameters(rendered("smtp_pop"))["mynetworks"].split(", ")
    assert networks[:2] == ["!10.0.0.24", "![2001:db8:0:2::24]"]
    assert networks[2:] == ["10.0.0.0/24", "[2001:db8:0:2::]/64"]


def test_smtp_pop_sends_outside_from_its_outer_service_address() -> None:
    wanted = {"smtp_bind_address": "192.0.2.26", "smtp_bind_address6": "2001:db8:0:1::26"}
    assert parameters(rendered("smtp_pop")).items() >= wanted.items()


def test_the_placeholder_holds_exactly_the_ports_that_postfix_takes() -> None:
    rendering = rendered("smtp_pop")
    standby = rendering.agent["standby"]
    assert isinstance(standby, list)
    master = text(rendering, "master.cf").splitlines()
    assert set(standby[-4:]) == {line.split()[0] for line in master if " inet " in line}


def test_assume_clears_the_mount_guard_only_after_release_or_power_fence() -> None:
    script = text(rendered("smtp_pop"), "assume")
    (case,) = [line for line in script.splitlines() if "clear_mmp" in line]
    assert case.partition(")")[0].split("|") == ["  released", "power"]


def test_the_negative_control_differs_in_fsync_only() -> None:
    control = rendered("smtp_pop", mail=replace(MAIL, fsync=Fsync.NEVER))
    assert repr(control).replace("never", "optimized") == repr(rendered("smtp_pop"))
    assert "mail_fsync = never" in text(control, "dovecot.conf")


def test_passwords_are_not_readable_by_everybody_and_not_in_clear() -> None:
    (passwd,) = [f for p, f in rendered("smtp_pop").files.items() if p.name == "passwd"]
    assert passwd.mode & 0o007 == 0
    assert MAIL.users[0].password not in passwd.text


def test_the_wan_relays_for_nobody() -> None:
    wan = parameters(render_wan(MAIL.wan, Path("/lab/wan")))
    assert (wan["mynetworks"], wan.get("relay_domains", "")) == ("", "")
    assert wan["smtpd_relay_restrictions"] == "reject_unauth_destination"


def test_an_unknown_role_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match="no mail role 'fax'; there are mailrelay, smtp_pop, web"):
        rendered("fax")


def test_smtp_pop_without_a_device_for_the_spool_is_refused() -> None:
    with pytest.raises(ValueError, match="needs the spool's block device"):
        render(SITE, MAIL, "smtp_pop", "smtp_pop", Path("/lab"))
