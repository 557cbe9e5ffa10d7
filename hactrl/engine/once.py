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
from typing import Any, Concatenate, ParamSpec, TypeAlias, TypeVar, cast

from hactrl.engine.state import STATE_FIELDS, State

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")

#: A function of a state, and what else it is asked with.
Question: TypeAlias = tuple[Callable[..., Any], tuple[Any, ...]]

#: Where a mapping is: a field, or an entry of a field, and so on.
Path: TypeAlias = tuple[Any, ...]

#: In order, what was read for an answer and what was found: the entry, or all, of what is at a
#: path; or another question, and its answer.
Notes: TypeAlias = dict[tuple[Path, Any] | Question, Any]

#: What is read where a mapping has no such entry; where the entry is a mapping itself, of which is
#: noted what is read; and what is looked through where no mapping is.
_MISSING: Any = object()
_MAPPING: Any = object()
_NOTHING: Mapping[Any, Any] = {}

#: In the place of a key: all of it was read.
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


class Known:
    """An answer, what was read for it, in order, and the fields that this is part of. `seen` are
    their values in a state for which it stood: where all are the same it stands, too."""

    __slots__ = ("_fields_of", "_notes", "_seen", "answer", "fields")

    def __init__(self, answer: Any, notes: Notes, fields: frozenset[str], state: State) -> None:
        self.answer = answer
        self.fields = fields
        self._notes = notes
        self._fields_of = _getter(fields)
        self._seen = self._fields_of(state)

    def stands_for(self, state: State) -> bool:
        """Would the same be read of this state? The order matters: a question that is only asked
        after something else was read need not have an answer where that is not so."""
        values = self._fields_of(state)
        if not all(map(is_, values, self._seen)):
            for (of, key), found in self._notes.items():
                if isinstance(of, tuple):
                    same = _read(state, of, key) is found
                else:
                    same = _known(state, (of, key)).answer is found
                if not same:
                    return False
            self._seen = values
        return True


def _read(state: State, path: Path, key: object) -> object:
    """What would be noted of this state."""
    found = getattr(state, path[0])
    for step in path[1:]:
        found = found.get(step, _NOTHING)
    if key is _WHOLE:
        return found
    entry = found.get(key, _MISSING)
    return _MAPPING if isinstance(entry, dict) else entry


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
    return Known(answer, reading.notes, frozenset(reading.fields), state)


class Reading:
    """A state that notes what is read of it."""

    def __init__(self, state: State) -> None:
        self.notes: Notes = {}
        self.fields: set[str] = set()
        self._state = state

    def __getattr__(self, name: str) -> Any:
        """Of a field that is not noted yet; afterwards Python finds it by itself."""
        if name not in STATE_FIELDS:
            raise AttributeError(f"a state has no {name} that can be read")
        self.fields.add(name)
        found = getattr(self._state, name)
        if isinstance(found, dict):
            found = _Entries((name,), found, self.notes)
        else:
            self.notes[(name,), _WHOLE] = found
        setattr(self, name, found)
        return found

    def ask(self, question: Question) -> Any:
        """The answer to another question."""
        answer = self.notes.get(question, _MISSING)
        if answer is _MISSING:
            known = _known(self._state, question)
            self.notes[question] = answer = known.answer
            self.fields |= known.fields
        return answer


for _name, _method in vars(State).items():
    if isfunction(_method) and not _name.startswith("_"):
        setattr(Reading, _name, _method)  # it reads what it reads


class _Entries(Mapping[Any, Any]):
    """A mapping in the state, of which is noted what is read; so it is with mappings in it."""

    __slots__ = ("_mapping", "_notes", "_path")

    def __init__(self, path: Path, mapping: Mapping[Any, Any], notes: Notes) -> None:
        self._path = path
        self._mapping = mapping
        self._notes = notes

    def get(self, key: Any, default: Any = None) -> Any:
        found = self._mapping.get(key, _MISSING)
        if isinstance(found, dict):
            self._notes[self._path, key] = _MAPPING
            return _Entries((*self._path, key), found, self._notes)
        self._notes[self._path, key] = found
        return default if found is _MISSING else found

    def __getitem__(self, key: Any) -> Any:
        found = self.get(key, _MISSING)
        if found is _MISSING:
            raise KeyError(key)
        return found

    def __contains__(self, key: object) -> bool:
        return self.get(key, _MISSING) is not _MISSING

    def __iter__(self) -> Iterator[Any]:
        return iter(self._whole())

    def __len__(self) -> int:
        return len(self._whole())

    def _whole(self) -> Mapping[Any, Any]:
        self._notes[self._path, _WHOLE] = self._mapping
        return self._mapping
