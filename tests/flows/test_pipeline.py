"""The tables refuse what they have not declared."""

from __future__ import annotations

import pytest
from report_network import Situation, at, placed

from flows import pipeline
from flows.pipeline import ADMIT, FORWARD, PIPELINE, POLICY, SOURCE, PipelineError
from flows.rules import Output


def test_a_match_that_the_table_has_not_declared_is_refused() -> None:
    with pytest.raises(PipelineError, match="source may not match tcp_dst"):
        SOURCE.rule(1, "test", {"tcp_dst": 25})


def test_an_action_that_the_table_has_not_declared_is_refused() -> None:
    with pytest.raises(PipelineError, match="policy may not output"):
        POLICY.rule(1, "test", {}, Output(1))


def test_a_next_table_that_is_not_declared_is_refused() -> None:
    with pytest.raises(PipelineError, match="forward may not go to 0"):
        FORWARD.rule(1, "test", {}, goto=ADMIT)


def test_tables_only_lead_on() -> None:
    for place, table in enumerate(PIPELINE):
        assert table.number == place
        assert all(number > place for number in table.next)


def test_rules_of_one_intent_share_a_cookie_and_others_do_not() -> None:
    one, same, other = (POLICY.rule(n, w, {}) for n, w in ((1, "a"), (2, "a"), (3, "b")))
    assert one.cookie == same.cookie != other.cookie


def test_rules_that_are_remembered_are_those_that_a_fresh_compiler_makes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Also what equality leaves out: which intent a rule is for."""
    dead_cable = Situation(down=frozenset({at("i1:11"), at("i2:11")}))
    situations = [Situation(), placed(smtp_pop="mailrelay"), dead_cable]
    remembered = [situation.compiled() for situation in situations * 2]
    monkeypatch.setattr(pipeline, "_rule", pipeline._rule.__wrapped__)
    fresh = [situation.compiled() for situation in situations * 2]
    assert remembered == fresh
    assert repr(remembered) == repr(fresh)
