"""Every effect is answered, whatever happens to who carries it out.

The engine waits for the event that an effect with an `operation` comes back with; one that never
comes would leave a takeover to its deadline. What nobody has expected is a failure like others.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from hactrl.engine.effects import AskAgent, Effect, FencePower, Remember, StorePlacement
from hactrl.engine.events import AgentAnswered, EpochStored, Event, Noticed, PowerFenced, Remembered
from hactrl.vocabulary import EntryKind, Outcome

LOG = logging.getLogger(__name__)


def failure(effect: Effect) -> Event:
    """What the engine is told of an effect that ended by an exception: its answer, or, where it
    has none, an entry for the journal."""
    match effect:
        case AskAgent(operation, server, _, role):
            return AgentAnswered(operation, server, role, Outcome.FAILED)
        case FencePower(operation, server):
            return PowerFenced(operation, server, Outcome.FAILED)
        case StorePlacement(operation):
            return EpochStored(operation, Outcome.FAILED)
        case Remember(operation):
            return Remembered(operation, Outcome.FAILED)
    details = (("effect", type(effect).__name__),)
    return Noticed(EntryKind.EFFECT_FAILED, getattr(effect, "role", ""), details)


@contextmanager
def answered_for(effect: Effect, post: Callable[[Event], None]) -> Iterator[None]:
    """Carry out an effect in here: any exception is logged, and posted as its `failure`."""
    try:
        yield
    except Exception:
        LOG.exception("defect in carrying out %s", effect)
        post(failure(effect))
