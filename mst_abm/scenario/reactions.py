"""Lines of the protocol that wait for something to be seen: ``when``, what is done, ``then``."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

from mst_abm.clinic.observation import DAY_H
from mst_abm.clinic.protocol import Acts
from mst_abm.clinic.reaction import COMPARISONS, Condition, Reaction
from mst_abm.errors import closest, did_you_mean
from mst_abm.model.definition import Observable
from mst_abm.scenario.context import Context
from mst_abm.scenario.document import Keys
from mst_abm.scenario.observables import value_in
from mst_abm.scenario.problems import SectionType, WordError, known_keys
from mst_abm.scenario.schema import (
    DoseSection,
    GiveThenSection,
    GiveWhenSection,
    InfuseThenSection,
    InfuseWhenSection,
    InfusionSection,
    ReactionSection,
    RepeatWhenSection,
    StopWhenSection,
    WhenSection,
)
from mst_abm.scenario.treatment import Protocol, refuse_unknown
from mst_abm.units import shown

_COMPARISON = re.compile(r"\s*(>=|<=|>|<)\s*(.*?)\s*$", re.DOTALL)
#: What a line that waits may do, and the section of each.
WHEN: dict[str, type[ReactionSection]] = {
    "give": GiveWhenSection,
    "infuse": InfuseWhenSection,
    "repeat": RepeatWhenSection,
    "stop": StopWhenSection,
}
THEN: dict[str, type[GiveThenSection] | type[InfuseThenSection]] = {
    "give": GiveThenSection,
    "infuse": InfuseThenSection,
}


def read_reactions(
    context: Context, protocol: Protocol, observables: Sequence[Observable]
) -> tuple[Reaction, ...]:
    """All lines with ``when``, in the order of the file."""
    reader = _Reader(context, protocol, {item.name: item for item in observables})
    found = [reader.read(keys) for keys in protocol.waiting]
    return tuple(item for item in found if item is not None)


class _Reader:
    def __init__(
        self, context: Context, protocol: Protocol, observables: dict[str, Observable]
    ) -> None:
        self.context, self.protocol, self.observables = context, protocol, observables
        self.groups = dict(protocol.groups)
        self._names: set[str] = set()

    def read(self, keys: Keys) -> Reaction | None:
        verb = self._verb(keys, WHEN)
        if not verb:
            return None
        section = self._checked(keys, WHEN[verb], verb)
        if section is None:
            return None
        assert isinstance(section, ReactionSection)
        acts, done = self._acts(section, 0.0, keys)
        if isinstance(section, StopWhenSection) and section.then is not None:
            message = "expected nothing after 'stop', which ends all treatment"
            self.context.problems.add((*keys, "then"), message, at_key=True)
        acts, done = self._then(section.then, acts, done, (*keys, "then"))
        conditions = self._conditions(section.when, (*keys, "when"))
        first_h, last_h = self._window(section.when, (*keys, "when"))
        begins = section.as_ or ""
        if isinstance(section, RepeatWhenSection):
            begins = section.repeat
        elif section.as_:
            self.groups.setdefault(section.as_, acts)
        return Reaction(
            name=self._name(section.name or done.partition(";")[0]),
            conditions=conditions,
            acts=acts,
            done=done,
            first_h=first_h,
            last_h=last_h,
            of=section.when.of or "",
            begins=begins,
            stops=isinstance(section, StopWhenSection),
            lasting_d=self._lasting(section.when, (*keys, "when", "for")),
            at_most=section.at_most,
            apart_h=section.not_within,
        )

    def _name(self, wanted: str) -> str:
        name, n = wanted, 1
        while name in self._names:
            n += 1
            name = f"{wanted} ({n})"
        self._names.add(name)
        return name

    def _verb(self, keys: Keys, known: dict) -> str:
        """The one verb of a line; "" after a complaint."""
        words = self.context.raw(*keys)
        words = words if isinstance(words, dict) else {}
        given = [word for word in known if word in words]
        if len(given) == 1:
            return given[0]
        got = " and ".join(given) if given else shown(list(words))
        message = f"expected one of {', '.join(known)}, got {got}"
        self.context.problems.add(keys, message)
        return ""

    def _checked(self, keys: Keys, section: type[SectionType], verb: str) -> SectionType | None:
        if verb == "infuse":
            graft = str(self.context.raw(*keys, "infuse"))
            refuse_unknown(self.context, section, graft, keys)
        return self.context.problems.check(section, keys)

    # what is done

    def _acts(self, section: object, at_h: float, keys: Keys) -> tuple[Acts, str]:
        """Acts of a line, timed from the decision, and what they are in English."""
        if isinstance(section, DoseSection):
            return self.protocol.give(section, at_h, math.inf, keys), _giving(section)
        if isinstance(section, InfusionSection):
            return self.protocol.infuse(section, at_h, math.inf, keys), _infusing(section)
        if isinstance(section, RepeatWhenSection):
            with self.context.problems.at(*keys, "repeat"):
                return self._group(section.repeat), f"repeat {section.repeat}"
        if isinstance(section, StopWhenSection):
            return Acts(), f"stop treatment: {section.stop}"
        return Acts(), ""

    def _group(self, name: str) -> Acts:
        if name not in self.groups:
            tail = did_you_mean(name, list(self.groups), shown=20)
            hint = tail or f"; name acts by 'as: {name}'"
            raise WordError(f"unknown group '{name}'{hint}")
        return self.groups[name]

    def _then(self, written: object, acts: Acts, done: str, keys: Keys) -> tuple[Acts, str]:
        """What follows, each act ``after`` the end of the one before."""
        if written is None:
            return acts, done
        items = written if isinstance(written, list) else [written]
        for i in range(len(items)):
            here = (*keys, i) if isinstance(written, list) else keys
            verb = self._verb(here, THEN)
            section = self._checked(here, THEN[verb], verb) if verb else None
            if section is None:
                continue
            end_h = max(acts.times_h, default=0.0)
            more, text = self._acts(section, end_h + section.after, here)
            acts = acts + more
            done += f"; {_span(section.after)} later {text}" if section.after else f"; then {text}"
        return acts, done

    # when

    def _conditions(self, section: WhenSection, keys: Keys) -> tuple[Condition, ...]:
        found: list[Condition] = []
        extra = section.model_extra or {}
        if not extra and not self.context.problems.is_in_doubt(*keys):
            message = 'expected an observable with a comparison, as anc: ">= 1e9 /L"'
            self.context.problems.add(keys, message)
        for name, written in extra.items():
            for text in written if isinstance(written, list) else [written]:
                with self.context.problems.at(*keys, name):
                    found.append(self._condition(name, text))
        return tuple(found)

    def _condition(self, name: str, text: object) -> Condition:
        known = self.context.names["observables"]
        if name not in known:
            words = [word for word in known_keys(WhenSection, ()) if word != "note"]
            meant = closest(name, [*known, *words])
            tail = did_you_mean(name, [meant] if meant else known, shown=20)
            raise WordError(f"unknown observable '{name}'{tail}")
        self.context.known("observables", name, "observable")
        item = self.observables.get(name)
        if item is None:
            raise WordError(f"'{name}' is off with its switch or signal; turn that on")
        if not item.observed.every_d:
            raise WordError(f"'{name}' is never observed, see its 'observed'; choose another")
        match = _COMPARISON.match(text) if isinstance(text, str) else None
        if match is None:
            unit = "15 %" if item.unit == "1" else f"2 {item.unit}"
            marks = ", ".join(COMPARISONS)
            raise WordError(
                f'expected a comparison such as "> {unit}" ({marks}), got {shown(text)}'
            )
        value = value_in(item, match[2])
        highest = item.times if item.share_of is not None else math.inf
        never = {"<": value <= 0, "<=": value < 0, ">": value >= highest, ">=": value > highest}
        if never[match[1]]:
            raise WordError(f"expected a comparison that can hold, got {shown(text)}")
        return Condition(name, match[1], value, " ".join(match.groups()))

    def _window(self, section: WhenSection, keys: Keys) -> tuple[float, float]:
        """First and last time after the start, or after that of the group ``of``."""
        problems = self.context.problems
        first, last, key = section.after or 0.0, math.inf, "after"
        if section.before is not None:
            last, key = section.before, "before"
        if section.between is not None:
            if section.after is not None or section.before is not None:
                problems.add(keys, "expected 'between' or 'after' and 'before', got both")
            (first, last), key = section.between, "between"
        begin = 0.0
        if section.of:
            with problems.at(*keys, "of"):
                self._group(section.of)
            begin = self.protocol.begins.get(section.of, 0.0)
        until = self.protocol.run.until_h
        if first > last:
            message = (
                f"expected a window that ends after its start, got {_days(first)} to {_days(last)}"
            )
            problems.add((*keys, key), message)
        elif not section.of and math.ceil(first / DAY_H - 1e-9) * DAY_H > last + 1e-9:
            problems.add(
                (*keys, key), "expected a window with a whole day in it, for looks are daily"
            )
        elif first + begin >= until:
            end = ("run", "until")
            message = f"expected a time before the end of the run at {_days(until)}, got {_days(first + begin)}; it would never be looked at"
            problems.add((*keys, key), message, of=[(*keys, key), end])
        return first, last

    def _lasting(self, section: WhenSection, keys: Keys) -> int:
        if section.for_ is None:
            return 1
        days = section.for_ / DAY_H
        if days < 1 or days != round(days):
            self.context.problems.add(keys, f"expected whole days, one or more, got {days:g} d")
            return 1
        if (days - 1) * DAY_H >= self.protocol.run.until_h:
            until = _days(self.protocol.run.until_h)
            self.context.problems.add(
                keys,
                f"expected less than the run of {until}, got {days:g} d",
                of=[keys, ("run", "until")],
            )
        return round(days)


def _giving(section: DoseSection) -> str:
    lasting = section.over or section.for_
    how = f" over {_span(lasting)}" if lasting else ""
    return f"give {section.give} {section.dose}{how}{_often(section.every, section.times)}"


def _infusing(section: InfusionSection) -> str:
    cells = ", ".join(f"{name} {value}" for name, value in (section.model_extra or {}).items())
    what = f" ({cells})" if cells else ""
    return f"infuse {section.infuse}{what}{_often(section.every, section.times)}"


def _often(every: float | None, times: int) -> str:
    return f", {times} times every {_span(every or 0.0)}" if times > 1 else ""


def _span(hours: float) -> str:
    return f"{hours:g} h" if hours < 48 else f"{hours / DAY_H:g} d"


def _days(hours: float) -> str:
    return f"{hours / DAY_H:g} d"
