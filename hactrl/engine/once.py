"""Questions about a state, worked out once, and again only when what they read has changed.

A state never changes, so a question about it has one answer. But one event makes several states
out of another, which differ in few fields, and many rules ask the same of each. So an answer is
kept with what it has read (`Reading` notes it): fields, single entries of mappings, and answers to
other questions. It stands for every later state of which the same would be read, in the same order.
An answer that comes out as before leaves those alone that have read it.

Nothing is declared by hand, so nothing can be forgotten. The method is that of Hammer and others:
Adapton: Composable, demand-driven incremental computation (2014).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache, wraps
from operator import attrgetter, is_
from types import MethodType
from typing import Any, Concatenate, ParamSpec, TypeAlias, TypeVar, cast

from hactrl.engine.state import STATE_FIELDS, State

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")
Question: TypeAlias = Callable[..., Any]

#: What is read where a mapping has no such entry.
_MISSING = object()

#: In the place of a key: the whole field was read.
_WHOLE = object()


def once(
    question: Callable[Concatenate[State, Arguments], Result],
) -> Callable[Concatenate[State, Arguments], Result]:
    """A pure function of a state and of positional arguments that can be hashed. There must be a
    bound to how many different arguments it is asked with: an answer is kept for each."""

    @wraps(question)
    def answer(state: State, /, *arguments: Arguments.args, **named: Arguments.kwargs) -> Result:
        assert not named, "answers are kept by position"
        asked: object = state
        if isinstance(asked, Reading):
            return cast("Result", asked.ask(question, arguments))
        return cast("Result", _known(state, question, arguments).answer)

    return answer


@dataclass(frozen=True, slots=True)
class Read:
    """One thing that was read: the entry `key` of the field `of`, or all of it; or the answer
    `found` to the question `of`, whose arguments are then the key."""

    of: str | Question
    key: Any
    found: object

    def same_in(self, state: State) -> bool:
        if not isinstance(self.of, str):
            return _known(state, self.of, self.key).answer is self.found
        field = getattr(state, self.of)
        return (field if self.key is _WHOLE else field.get(self.key, _MISSING)) is self.found


@dataclass(slots=True)
class Known:
    """An answer, what it has read, in order, and the fields that this is part of. `seen` are their
    values in a state for which it stood: where all are the same it stands, too."""

    answer: Any
    reads: tuple[Read, ...]
    fields: frozenset[str]
    seen: tuple[Any, ...]

    def stands_for(self, state: State) -> bool:
        """Would the same be read of this state? The order matters: a question that is only asked
        after something else was read need not have an answer where that is not so."""
        values = _of_fields(self.fields)(state)
        if not all(map(is_, values, self.seen)):
            if not all(read.same_in(state) for read in self.reads):
                return False
            self.seen = values
        return True


@cache
def _of_fields(names: frozenset[str]) -> Callable[[State], tuple[Any, ...]]:
    """Takes their values out of a state. One is there twice, for a single one would be no tuple."""
    return attrgetter("site", *sorted(names | {"site"}))


def _known(state: State, question: Question, arguments: tuple[Any, ...]) -> Known:
    key = (question, arguments)
    found: Known | None = state.known.get(key)
    if found is None:
        found = state.worked_out.get(key)
        if found is None or not found.stands_for(state):
            found = state.worked_out[key] = _work_out(state, question, arguments, found)
        state.known[key] = found
    return found


def _work_out(
    state: State, question: Question, arguments: tuple[Any, ...], before: Known | None
) -> Known:
    reading = Reading(state)
    answer = question(reading, *arguments)
    if before is not None and answer == before.answer:
        answer = before.answer
    fields = frozenset(reading.fields)
    return Known(answer, tuple(reading.reads), fields, _of_fields(fields)(state))


class Reading:
    """A state that notes what is read of it, once for each field, entry and question."""

    def __init__(self, state: State) -> None:
        self.reads: list[Read] = []
        self.fields: set[str] = set()
        self._state = state
        self._asked: dict[object, Any] = {}

    def __getattr__(self, name: str) -> Any:
        """Of what is not noted yet; afterwards Python finds it by itself."""
        found: Any
        if name not in STATE_FIELDS:
            found = MethodType(getattr(State, name), self)  # it reads what it reads
        else:
            self.fields.add(name)
            found = getattr(self._state, name)
            if isinstance(found, dict):
                found = _Entries(name, found, self.reads)
            else:
                self.reads.append(Read(name, _WHOLE, found))
        setattr(self, name, found)
        return found

    def ask(self, question: Question, arguments: tuple[Any, ...]) -> Any:
        """The answer to another question."""
        key = (question, arguments)
        try:
            return self._asked[key]
        except KeyError:
            known = _known(self._state, question, arguments)
        self.reads.append(Read(question, arguments, known.answer))
        self.fields |= known.fields
        self._asked[key] = known.answer
        return known.answer


class _Entries(Mapping[Any, Any]):
    """A field of the state, a mapping, of which is noted what is read."""

    def __init__(self, name: str, mapping: Mapping[Any, Any], reads: list[Read]) -> None:
        self._name = name
        self._mapping = mapping
        self._reads = reads
        self._noted: dict[object, Any] = {}

    def _read(self, key: object) -> Any:
        try:
            return self._noted[key]
        except KeyError:
            found = self._mapping if key is _WHOLE else self._mapping.get(key, _MISSING)
        self._reads.append(Read(self._name, key, found))
        self._noted[key] = found
        return found

    def get(self, key: Any, default: Any = None) -> Any:
        found = self._read(key)
        return default if found is _MISSING else found

    def __getitem__(self, key: Any) -> Any:
        found = self._read(key)
        if found is _MISSING:
            raise KeyError(key)
        return found

    def __contains__(self, key: object) -> bool:
        return self._read(key) is not _MISSING

    def __iter__(self) -> Iterator[Any]:
        return iter(self._read(_WHOLE))

    def __len__(self) -> int:
        return len(self._read(_WHOLE))
