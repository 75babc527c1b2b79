"""``levels`` and ``effects`` of a drug: what it does, said in its own block.

They become ordinary signals, rules, modifiers and inputs of signals before anything is compiled.
Effects of every drug are read, so that mistakes are found; those of drugs that the protocol does
not give are then left out, so that a model may offer many drugs and pay for none.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from mst_abm.errors import did_you_mean
from mst_abm.model.definition import Input, Modifier, NumberClass, Outcome, Rule, Shape, Signal
from mst_abm.scenario.context import Context, number_class
from mst_abm.scenario.document import Keys
from mst_abm.scenario.modifiers import read_modifiers, read_shape
from mst_abm.scenario.patterns import parse_pattern
from mst_abm.scenario.problems import UnknownName, WordError
from mst_abm.scenario.rules import read_compartments
from mst_abm.scenario.schema import DrugSection, EffectSection, LawSection, LevelSection
from mst_abm.scenario.signals import PLASMA_UNIT, per_hour
from mst_abm.scenario.verbs import Parts
from mst_abm.units import quantity, shown

PLASMA = "plasma"
#: What an effect does, and the keys that only go with it.
VERBS = {"kills": ("name", "rate", "in", "modifiers"), "multiplies": (), "adds_to": ("rate",)}
SPECIAL_KEYS = ("name", "rate", "in", "modifiers")


@dataclass
class Levels:
    """The signals that drug blocks declare, and how effects call them."""

    signals: dict[str, Signal] = field(default_factory=dict)
    #: (drug, word) to the name of the signal, "" where that name is taken.
    names: dict[tuple[str, str], str] = field(default_factory=dict)


@dataclass
class _Found:
    """Effects of drugs that are given."""

    rules: list[Rule] = field(default_factory=list)
    modifiers: list[tuple[str, Modifier]] = field(default_factory=list)
    inputs: list[tuple[str, Input]] = field(default_factory=list)


@dataclass(frozen=True)
class _Law:
    """A shape of a level, with what the shape rests on ("": as the number beside it)."""

    signal: str
    shape: Shape
    number_class: NumberClass | None
    reference: str

    def modifier(self) -> Modifier:
        return Modifier(
            "signal",
            self.shape,
            self.signal,
            number_class=self.number_class,
            reference=self.reference,
        )


def given_drugs(context: Context) -> set[str]:
    """Drugs that some line of the protocol gives or may give, at whatever dose."""
    return _given_in(context.raw("protocol"))


def _given_in(lines: object) -> set[str]:
    found = set()
    for line in lines if isinstance(lines, list) else [lines]:
        if isinstance(line, dict):
            found |= {str(line["give"])} if "give" in line else set()
            found |= _given_in(line.get("then"))
    return found


def read_levels(context: Context) -> Levels:
    """The levels of all drugs; rules may name them from here on, whether a drug is given or not."""
    levels = Levels()
    for drug in context.names["drugs"]:
        keys: Keys = ("drugs", drug)
        context.problems.check(DrugSection, keys)
        for word in dict.fromkeys([*_written_levels(context, drug), *_plasma(context, drug)]):
            name = f"{drug}_level" if word == PLASMA else word
            here = (*keys, "levels", word)
            level = _read_level(context, drug, word, name, here)
            levels.names[drug, word] = name if level is None else ""
            if level is not None and _is_free(context, levels, level, here):
                levels.names[drug, word] = name
                if name not in context.names["signals"]:
                    levels.signals[name] = level
    for name, signal in levels.signals.items():
        context.names["signals"].append(name)
        context.units[name] = signal.unit
    return levels


def _written_levels(context: Context, drug: str) -> list[str]:
    written = context.raw("drugs", drug, "levels")
    return list(written) if isinstance(written, dict) else []


def _plasma(context: Context, drug: str) -> list[str]:
    """The plasma level, if an effect asks for it."""
    uses = [effect.get("level", PLASMA) for _, effect in _written_effects(context, drug)]
    return [PLASMA] if PLASMA in uses else []


def _written_effects(context: Context, drug: str) -> Iterator[tuple[Keys, dict]]:
    written = context.raw("drugs", drug, "effects")
    for i, effect in enumerate(written if isinstance(written, list) else ()):
        if isinstance(effect, dict):
            yield ("drugs", drug, "effects", i), effect


def _read_level(context: Context, drug: str, word: str, name: str, keys: Keys) -> Signal | None:
    is_written = word in _written_levels(context, drug)
    section = context.problems.check(LevelSection, keys) if is_written else None
    if is_written and section is None:
        return None
    reference = section.source if section is not None else context.raw("drugs", drug, "source")
    number = number_class(section.class_ if section is not None else None, str(reference))
    if word == PLASMA:
        for key in ("half_life", "loading"):
            if getattr(section, key, None) is not None:
                message = f"expected '{key}' only in a level of another name than '{PLASMA}'"
                context.problems.add((*keys, key), message, at_key=True)
        return Signal(
            name, "drug", PLASMA_UNIT, drug=drug, reference=str(reference), number_class=number
        )
    assert section is not None
    if section.half_life is None or section.half_life <= 0:
        is_given = section.half_life is not None
        message = "expected a 'half_life' above 0" + ("" if is_given else ", got none")
        where = (*keys, "half_life") if is_given else keys
        context.problems.add(where, message, of=[(*keys, "half_life")])
        return None
    return Signal(
        name=name,
        kind="metabolite",
        unit=PLASMA_UNIT if section.loading is None else "1",
        clearance=math.log(2.0) / section.half_life,
        drug=drug,
        saturates_at=math.inf if section.loading is None else section.loading.saturates_at,
        reference=section.source,
        number_class=number,
    )


def _is_free(context: Context, levels: Levels, level: Signal, keys: Keys) -> bool:
    """Whether the name is new; a plasma level that the model has as a signal already is that one."""
    taken: Keys | None = None
    if level.name in context.names["signals"]:
        taken = ("signals", level.name)
        same = context.raw(*taken, "concentration_of")
        if level.kind == "drug" and same == level.drug:
            return True
    elif level.name in levels.signals:
        taken = ("drugs", levels.signals[level.name].drug, "levels", level.name)
    if taken is None:
        return True
    line = context.tree.locate(taken, at_key=True).line
    where = keys if context.tree.at(keys) is not None else keys[:2]
    message = f"expected a signal of its own, '{level.name}' is taken in line {line}"
    context.problems.add(where, message, at_key=True)
    return False


def add_effects(
    context: Context, rules: tuple[Rule, ...], signals: tuple[Signal, ...], levels: Levels
) -> tuple[tuple[Rule, ...], tuple[Signal, ...]]:
    """Rules and signals with the effects of the drugs that are given, kills after all other rules."""
    given = given_drugs(context)
    reader = _Reader(context, levels, {s.name: s for s in signals})
    found = _Found()
    for drug in context.names["drugs"]:
        for keys, _ in _written_effects(context, drug):
            reader.read(drug, keys, found if drug in given else _Found())
    reader.refuse_unknown_rules(context.events)
    rules = tuple(_multiplied(rule, found) for rule in (*rules, *found.rules))
    looked_at = {m.target for rule in rules for m in rule.modifiers if m.source == "signal"}
    extra = [s for s in levels.signals.values() if s.drug in given or s.name in looked_at]
    return rules, tuple(_fed(signal, found) for signal in (*signals, *extra))


def _multiplied(rule: Rule, found: _Found) -> Rule:
    mine = tuple(modifier for name, modifier in found.modifiers if name == rule.name)
    return replace(rule, modifiers=rule.modifiers + mine) if mine else rule


def _fed(signal: Signal, found: _Found) -> Signal:
    mine = tuple(source for name, source in found.inputs if name == signal.name)
    return replace(signal, inputs=mine) if mine else signal


class _Reader:
    """Reads effects one by one; what they do is noted in ``_Found``."""

    def __init__(self, context: Context, levels: Levels, signals: dict[str, Signal]) -> None:
        self.context, self.levels = context, levels
        self.signals = signals | levels.signals
        self.rules: dict[str, Keys] = {}
        self._wanted: list[tuple[Keys, str]] = []
        written = context.raw("rules")
        for i, rule in enumerate(written if isinstance(written, list) else ()):
            if isinstance(rule, dict) and "name" in rule:
                self.rules.setdefault(str(rule["name"]), ("rules", i))

    def read(self, drug: str, keys: Keys, found: _Found) -> None:
        problems = self.context.problems
        section = problems.check(EffectSection, keys)
        if section is None:
            return
        if not self.context.is_on(section.switch, keys):
            found = _Found()
        verb = problems.one_of(keys, section, tuple(VERBS), "one")
        if not verb:
            return
        given = {name.rstrip("_") for name in section.model_fields_set}
        for key in SPECIAL_KEYS:
            if key in given and key not in VERBS[verb]:
                owners = " or ".join(v for v, own in VERBS.items() if key in own)
                message = f"expected '{key}' only beside {owners}, got it beside {verb}"
                problems.add((*keys, key), message, at_key=True)
        if "rate" in VERBS[verb] and section.rate is None:
            problems.add(keys, f"missing 'rate' beside {verb}", of=[(*keys, "rate")])
        law = self._law(drug, section, keys)
        if verb == "kills":
            self._kills(drug, section, law, keys, found)
        elif verb == "multiplies":
            self._multiplies(section, law, keys, found)
        else:
            self._adds(section, law, keys, found)

    def _law(self, drug: str, section: EffectSection, keys: Keys) -> _Law | None:
        """The effect's shape, else that of its level."""
        signal, unit = "", None
        with self.context.problems.at(*keys, "level"):
            name = self._signal(drug, section.level)
            given = self.signals.get(name)
            if section.adds_to is not None and given is not None and given.kind == "dynamic":
                message = "expected a level of a drug beside adds_to, got "
                raise WordError(message + shown(section.level))
            # a level that is not in the model, whatever the reason, has no effect
            signal, unit = name if given is not None else "", self.context.units.get(name)
        written, where = section.shape, (*keys, "shape")
        if written is None:
            where = ("drugs", drug, "levels", section.level, "shape")
            if self.context.tree.at(where) is None:
                message = f"missing 'shape', here or in the level '{section.level}' of the drug"
                doubts = [(*keys, "shape"), (*keys, "level"), where[:-1]]
                self.context.problems.add(keys, message, of=doubts)
                return None
            written = self.context.problems.check(LawSection, where)
        shape = read_shape(self.context, written, unit, where) if written is not None else None
        if written is None or shape is None or not signal:
            return None
        return _Law(signal, shape, written.class_, written.source)

    def _signal(self, drug: str, word: str) -> str:
        """The signal of a level of the drug, or any other by its name."""
        own = [name for of, name in self.levels.names if of == drug]
        if word in own:
            return self.levels.names[drug, word]
        names = self.context.names["signals"]
        if self.context.problems.is_in_doubt("signals", word):
            raise WordError()
        if word not in names:
            tail = did_you_mean(word, [PLASMA, *own, *names])
            raise UnknownName(f"unknown level '{word}'{tail}", "level", word)
        return word

    def _kills(
        self, drug: str, section: EffectSection, law: _Law | None, keys: Keys, found: _Found
    ) -> None:
        context, is_list = self.context, isinstance(self.context.raw(*keys, "kills"), list)
        compartments = read_compartments(context, section, Parts(), keys)
        rate = None
        with context.problems.at(*keys, "rate"):
            rate = quantity(section.rate, "rate") if section.rate is not None else None
        cells = section.kills or []
        if section.name and len(cells) > 1:
            message = "expected 'name' only where one pattern is killed; a rule is made for each"
            context.problems.add((*keys, "name"), message, at_key=True)
        for j, text in enumerate(cells):
            here = (*keys, "kills", j) if is_list else (*keys, "kills")
            actor = None
            with context.problems.at(*here):
                actor = parse_pattern(text, context.vocabulary)
            modifiers = read_modifiers(context, section.modifiers, actor, (*keys, "modifiers"))
            name = section.name or f"{drug} kills {text}"
            self._claim(name, (*keys, "name") if section.name else here)
            if actor is None or rate is None or law is None:
                continue
            rule = Rule(
                name=name,
                verb="die",
                actor=actor,
                outcomes=(Outcome(1.0, ()),),
                rate=rate,
                rate_text=str(section.rate),
                reference=section.source,
                number_class=number_class(section.class_, section.source),
                modifiers=(law.modifier(), *modifiers),
                compartments=compartments,
                note=section.note,
            )
            found.rules.append(rule)

    def _claim(self, name: str, keys: Keys) -> None:
        if name in self.rules:
            line = self.context.tree.locate(self.rules[name]).line
            message = (
                f"expected a rule of its own, '{name}' is taken in line {line}; give another 'name'"
            )
            self.context.problems.add(keys, message)
        self.rules.setdefault(name, keys)

    def _multiplies(
        self, section: EffectSection, law: _Law | None, keys: Keys, found: _Found
    ) -> None:
        is_list = isinstance(self.context.raw(*keys, "multiplies"), list)
        number = number_class(section.class_, section.source)
        for j, name in enumerate(section.multiplies or []):
            here = (*keys, "multiplies", j) if is_list else (*keys, "multiplies")
            self._wanted.append((here, name))
            if law is not None:
                modifier = replace(
                    law.modifier(),
                    number_class=law.number_class or number,
                    reference=law.reference or section.source,
                )
                found.modifiers.append((name, modifier))

    def refuse_unknown_rules(self, more: list[tuple[Keys, str]]) -> None:
        """Complain about rules to be multiplied, or counted, that no list and no drug has."""
        problems = self.context.problems
        written = self.context.raw("rules")
        n_rules = len(written) if isinstance(written, list) else 0
        if any(problems.is_in_doubt("rules", i, "name") for i in range(n_rules)):
            return
        for keys, name in (*self._wanted, *more):
            with problems.at(*keys):
                if name not in self.rules:
                    tail = did_you_mean(name, self.rules)
                    raise UnknownName(f"unknown rule '{name}'{tail}", "rules", name)

    def _adds(self, section: EffectSection, law: _Law | None, keys: Keys, found: _Found) -> None:
        context, name = self.context, section.adds_to or ""
        with context.problems.at(*keys, "adds_to"):
            context.known("signals", name, "signal")
            signal = self.signals.get(name)
            if signal is None:
                return
            if signal.kind != "dynamic":
                raise WordError(
                    f"expected a signal that is made and cleared, '{name}' is a level of a drug"
                )
            with context.problems.at(*keys, "rate"):
                rate = per_hour(section.rate if section.rate is not None else 0, signal.unit)
                if rate < 0:
                    raise WordError(f"expected a rate of 0 or more, got {shown(section.rate)}")
                if law is not None:
                    reference = law.reference or section.source
                    number = law.number_class or number_class(section.class_, section.source)
                    source = Input(law.signal, law.shape, rate, reference, number)
                    found.inputs.append((name, source))
