"""Whatever stands in a site file, it is read whole or refused with problems."""

from __future__ import annotations

import copy
from io import StringIO
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from ruamel.yaml import YAML

from hactrl.site import Problem, SiteError, dumps, load, loads
from hactrl.site.model import Site

EXAMPLES = Path(__file__).parents[3] / "examples"
EXAMPLE_DATA = [
    YAML(typ="safe").load(dumps(load(EXAMPLES / name))) for name in ("frontier.yaml", "campus.yaml")
]

VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.floats(),
    st.text(max_size=12),
    st.sampled_from(
        ["", "anyone", "o1:2", "o9:1", "i1:2", "10.0.0.25", "10.0.0.0/24", "4s", "none",
         "mailrelay", "02:00:00:00:01:0a", "inner", "A", "2001:db8:0:1::25",
         "10.0.0.0/0", "::/0", "tcp", "udp", "arp", "campus", "r1:1", "files", "10.20.0.10",
         "0a:00:00:00:00:01"]
    ),
    st.lists(st.one_of(st.text(max_size=3), st.integers()), max_size=3),
    st.dictionaries(st.one_of(st.text(max_size=3), st.integers()), st.integers(), max_size=2),
)  # fmt: skip


def places(data: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    items = (
        data.items()
        if isinstance(data, dict)
        else enumerate(data)
        if isinstance(data, list)
        else ()
    )
    return [path] * bool(path) + [p for key, value in items for p in places(value, (*path, key))]


PLACES = [places(data) for data in EXAMPLE_DATA]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_a_changed_file_is_read_or_refused(data: st.DataObject) -> None:
    example = data.draw(st.integers(0, len(EXAMPLE_DATA) - 1))
    changed = copy.deepcopy(EXAMPLE_DATA[example])
    for _ in range(data.draw(st.integers(1, 4))):
        *above, key = data.draw(st.sampled_from(PLACES[example]))
        holder = changed
        for part in above:
            holder = holder[part] if _has(holder, part) else None
        if not _has(holder, key):
            continue
        match data.draw(st.sampled_from(["replace", "delete", "rename"])):
            case "delete":
                del holder[key]
            case "rename" if isinstance(holder, dict):
                holder[data.draw(st.sampled_from([f"{key}x", str(key)[1:], 7]))] = holder.pop(key)
            case _:
                holder[key] = data.draw(VALUES)
    text = StringIO()
    YAML(typ="safe").dump(changed, text)
    site, problems = read(text.getvalue())
    if site is None:
        assert problems
        assert all(problem.line > 0 for problem in problems)
    else:
        assert loads(dumps(site)) == site


def read(text: str) -> tuple[Site | None, tuple[Problem, ...]]:
    try:
        return loads(text), ()
    except SiteError as error:
        return None, error.problems


def _has(holder: Any, key: Any) -> bool:
    if isinstance(holder, dict):
        return key in holder
    return isinstance(holder, list) and isinstance(key, int) and key < len(holder)


@settings(max_examples=100, deadline=None)
@given(st.text(max_size=80))
def test_any_text_is_read_or_refused(text: str) -> None:
    site, problems = read(text)
    assert (site is None) == bool(problems)
