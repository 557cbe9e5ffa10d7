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
from functools import cache, wraps
from inspect import isfunction
from operator import attrgetter, is_
from typing import Any, Concatenate, NamedTuple, ParamSpec, TypeAlias, TypeVar, cast

from hactrl.engine.state import STATE_FIELDS, State

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")

#: A function of a state, and what else it is asked with.
Question: TypeAlias = tuple[Callable[..., Any], tuple[Any, ...]]

#: What is read where a mapping has no such entry.
_MISSING = object()

#: What has not been read yet.
_UNREAD = object()

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
            return cast("Result", asked.ask((question, arguments)))
        return cast("Result", _known(state, (question, arguments)).answer)

    return answer


class Read(NamedTuple):
    """Of the field `name` the entry `key` was read, or all of it."""

    name: str
    key: Any
    found: object

    def same_in(self, state: State) -> bool:
        field = getattr(state, self.name)
        return (field if self.key is _WHOLE else field.get(self.key, _MISSING)) is self.found


class Asked(NamedTuple):
    """Another question was asked."""

    question: Question
    answer: object

    def same_in(self, state: State) -> bool:
        return _known(state, self.question).answer is self.answer


class Known:
    """An answer, what was read for it, in order, and the fields that this is part of. `seen` are
    their values in a state for which it stood: where all are the same it stands, too."""

    __slots__ = ("_fields_of", "_seen", "answer", "fields", "reads")

    def __init__(
        self, answer: Any, reads: list[Read | Asked], fields: frozenset[str], state: State
    ) -> None:
        self.answer = answer
        self.reads = reads
        self.fields = fields
        self._fields_of = _getter(fields)
        self._seen = self._fields_of(state)

    def stands_for(self, state: State) -> bool:
        """Would the same be read of this state? The order matters: a question that is only asked
        after something else was read need not have an answer where that is not so."""
        values = self._fields_of(state)
        if not all(map(is_, values, self._seen)):
            for read in self.reads:
                if not read.same_in(state):
                    return False
            self._seen = values
        return True


@cache
def _getter(names: frozenset[str]) -> Callable[[State], tuple[Any, ...]]:
    """Takes their values out of a state. One is there twice, for a single one would be no tuple."""
    return attrgetter("site", *sorted(names | {"site"}))


def _known(state: State, question: Question) -> Known:
    found: Known | None = state.known.get(question)
    if found is None:
        found = state.worked_out.get(question)
        if found is None or not found.stands_for(state):
            found = state.worked_out[question] = _work_out(state, question, found)
        state.known[question] = found
    return found


def _work_out(state: State, question: Question, before: Known | None) -> Known:
    reading = Reading(state)
    function, arguments = question
    answer = function(reading, *arguments)
    if before is not None and answer == before.answer:
        answer = before.answer
    return Known(answer, reading.reads, frozenset(reading.fields), state)


class Reading:
    """A state that notes what is read of it, once for each field, entry and question."""

    def __init__(self, state: State) -> None:
        self.reads: list[Read | Asked] = []
        self.fields: set[str] = set()
        self._state = state
        self._asked: dict[Question, Any] = {}

    def __getattr__(self, name: str) -> Any:
        """Of a field that is not noted yet; afterwards Python finds it by itself."""
        if name not in STATE_FIELDS:
            raise AttributeError(f"a state has no {name} that can be read")
        self.fields.add(name)
        found = getattr(self._state, name)
        if isinstance(found, dict):
            found = _Entries(name, found, self.reads)
        else:
            self.reads.append(Read(name, _WHOLE, found))
        setattr(self, name, found)
        return found

    def ask(self, question: Question) -> Any:
        """The answer to another question."""
        answer = self._asked.get(question, _UNREAD)
        if answer is _UNREAD:
            known = _known(self._state, question)
            self._asked[question] = answer = known.answer
            self.reads.append(Asked(question, answer))
            self.fields |= known.fields
        return answer


for _name, _method in vars(State).items():
    if isfunction(_method) and not _name.startswith("_"):
        setattr(Reading, _name, _method)  # it reads what it reads


class _Entries(Mapping[Any, Any]):
    """A field of the state, a mapping, of which is noted what is read."""

    def __init__(self, name: str, mapping: Mapping[Any, Any], reads: list[Read | Asked]) -> None:
        self._name = name
        self._mapping = mapping
        self._reads = reads
        self._noted: dict[object, Any] = {}

    def _read(self, key: object) -> Any:
        found = self._noted.get(key, _UNREAD)
        if found is _UNREAD:
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
