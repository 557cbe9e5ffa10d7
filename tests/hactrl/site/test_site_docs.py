"""The document on the site file tells all keys and the defaults that hold."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import pytest

from hactrl.site import loads
from hactrl.site.dump import duration
from hactrl.site.model import Timers
from hactrl.site.schema import (
    AgentsPart,
    ConnectionPart,
    ControllerPart,
    FileInterfacePart,
    FileServerPart,
    InterfacePart,
    LinkPart,
    OpenFlowPart,
    Part,
    PowerFencePart,
    ProbedPart,
    ProbePart,
    ProberPart,
    RestPart,
    RoleAddressPart,
    RolePart,
    SegmentPart,
    ServerPart,
    ServicePart,
    SitePart,
    SwitchPart,
)

TEXT = (Path(__file__).parents[3] / "docs" / "site-file.md").read_text()
PARTS = [
    AgentsPart, ConnectionPart, ControllerPart, FileInterfacePart, FileServerPart, InterfacePart,
    LinkPart, OpenFlowPart, PowerFencePart, ProbedPart, ProbePart, ProberPart, RestPart,
    RoleAddressPart, RolePart, SegmentPart, ServerPart, ServicePart, SitePart, SwitchPart,
]  # fmt: skip


@pytest.mark.parametrize("part", PARTS)
def test_every_key_is_told(part: type[Part]) -> None:
    for name, key in part.model_fields.items():
        assert re.search(rf"\b{key.alias or name}\b", TEXT), name


@pytest.mark.parametrize("timer", dataclasses.fields(Timers), ids=lambda timer: timer.name)
def test_every_timer_is_told_with_its_default(timer: dataclasses.Field[float]) -> None:
    default = timer.default
    written = str(default) if isinstance(default, int) else duration(float(default))
    row = next(line for line in TEXT.splitlines() if line.startswith(f"| `{timer.name}`"))
    assert row.endswith(f"| {written} |")


def test_the_defaults_of_the_controller_are_told() -> None:
    controller = ControllerPart()
    for part in (controller.openflow, controller.agents, controller.rest):
        assert f"`{part.listen.host}:{part.listen.port}`" in TEXT
    for path in (controller.store, controller.agents.tokens, controller.rest.token):
        assert f"`{path}`" in TEXT


def test_the_example_of_a_backbone_is_one() -> None:
    (block,) = re.findall(r"```yaml\n(.*?)```", TEXT, re.DOTALL)
    site = loads(f"site: example\n{block}")
    assert site.network.segments["campus"].backbone
    assert list(site.network.file_servers) == ["files"]
