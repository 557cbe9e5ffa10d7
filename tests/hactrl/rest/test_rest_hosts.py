"""Under which names the REST interface may be asked for."""

from __future__ import annotations

import pytest
from rest_fixture import Controller
from running import FRONTIER
from webob import Request

from hactrl.rest.hosts import is_own, own_names
from hactrl.site import SiteError, dumps, loads

HOSTS_FILE = """
127.0.0.1  localhost
10.0.0.9   ctl.example.org ctl   # this machine
10.0.0.8   other.example.org ctl-2
"""
NAMES = own_names(["hactrl.example.org", "2001:DB8::0:1"], "ctl", HOSTS_FILE)
ARRIVED = "10.0.0.9"


@pytest.mark.reported("C7")
@pytest.mark.parametrize(
    "host",
    [
        *("localhost", "LocalHost:8080", "localhost.", "127.0.0.1:8080", "[::1]:8080", "[::1]"),
        *("hactrl.example.org", "HACTRL.example.org:443", "[2001:db8::1]:8080"),
        *("ctl", "ctl.example.org:8080", "10.0.0.9", "10.0.0.9:8080"),
    ],
)
def test_a_name_of_its_own_is_one(host: str) -> None:
    assert is_own(host, NAMES, ARRIVED)


@pytest.mark.reported("C7")
@pytest.mark.parametrize(
    "host",
    [
        *("evil.example", "evil.example:8080", "other.example.org", "ctl-2", "10.0.0.8"),
        *("", ":8080", "localhost.evil.example", "localhost,evil.example", "localhost:80:80"),
        *("[::2]", "[::1", "::1]", "localhost/x", "a@localhost", "local\udcffhost"),
    ],
)
def test_any_other_name_is_none(host: str) -> None:
    assert not is_own(host, NAMES, ARRIVED)


def test_an_address_is_the_same_by_ipv6_and_by_ipv4() -> None:
    assert is_own("192.0.2.1", frozenset(), "::ffff:192.0.2.1")


def test_a_machine_without_a_name_has_none() -> None:
    assert own_names([], "", "127.0.0.1 nobody") == {"localhost", "127.0.0.1", "::1"}


class TestRequests:
    @pytest.fixture
    def controller(self) -> Controller:
        return Controller()

    @pytest.mark.reported("C7")
    @pytest.mark.parametrize("path", ["/v1/status", "/healthz", "/nowhere"])
    def test_for_another_name_are_told_where_to_add_it(
        self, controller: Controller, path: str
    ) -> None:
        response = Request.blank(path, headers={"Host": "evil.example"}).get_response(
            controller.api
        )
        assert response.status_code == 421
        assert response.json["type"] == "urn:hactrl:problem:unknown-host"
        assert "controller.rest.hosts" in response.json["detail"]
        assert "evil.example" in response.json["detail"]

    def test_without_a_name_come_from_no_browser(self, controller: Controller) -> None:
        request = Request.blank("/healthz")
        del request.environ["HTTP_HOST"]
        assert request.get_response(controller.api).status_code == 200


def with_hosts(text: str) -> str:
    place = 'rest: {listen: "127.0.0.1:8080",'
    whole = FRONTIER.read_text()
    assert place in whole
    return whole.replace(place, f"{place} hosts: {text},")


class TestSiteFile:
    def test_tells_further_names(self) -> None:
        site = loads(with_hosts('[hactrl.example.org, "2001:db8::1"]'))
        assert site.controller.rest_hosts == ("hactrl.example.org", "2001:db8::1")
        assert loads(dumps(site)).controller == site.controller

    @pytest.mark.parametrize("name", ["a b", "hactrl.example.org:80", "http://hactrl", ""])
    def test_is_told_what_is_no_name(self, name: str) -> None:
        with pytest.raises(SiteError, match=r"controller\.rest\.hosts.*is no name of a host"):
            loads(with_hosts(f'["{name}"]'))
