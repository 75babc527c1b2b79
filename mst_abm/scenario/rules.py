"""Section ``rules``: what all verbs have in common, and where cells that leave must arrive."""

from __future__ import annotations

from mst_abm.model.definition import Pattern, Rule
from mst_abm.scenario.context import Context, number_class
from mst_abm.scenario.document import Keys
from mst_abm.scenario.modifiers import read_modifiers
from mst_abm.scenario.patterns import combinations, is_match
from mst_abm.scenario.problems import WordError
from mst_abm.scenario.schema import EffectSection, RuleSection
from mst_abm.scenario.verbs import READERS, Parts, add_at

#: Keys of a rule that only some verbs take.
OWN_KEYS = {
    "die": (),
    "become": ("outcomes", "counters"),
    "divide": ("outcomes", "counters", "place"),
    "move": ("swap_with", "biased_by"),
    "contact": ("outcomes",),
    "paracrine": ("outcomes", "within"),
    "leave": ("outcomes", "at", "emit"),
    "arrive": ("at", "from", "batch"),
}
SPECIAL_KEYS = tuple(dict.fromkeys(key for keys in OWN_KEYS.values() for key in keys))


def read_rules(context: Context) -> tuple[Rule, ...]:
    """All rules that are switched on, in the order of the file."""
    written = context.raw("rules")
    if not isinstance(written, list) or not written:
        where: Keys = ("rules",) if written else ()
        context.problems.add(where, "expected a list of rules in 'rules'", of=[("rules",)])
        return ()
    found: list[Rule] = []
    seen: dict[str, int] = {}
    for i in range(len(written)):
        keys: Keys = ("rules", i)
        n_entries = len(context.entries)
        rule, is_on = _read_rule(context, keys, seen)
        if not is_on:
            del context.entries[n_entries:]
        elif rule is not None:
            found.append(rule)
    return tuple(found)


def _read_rule(context: Context, keys: Keys, seen: dict[str, int]) -> tuple[Rule | None, bool]:
    section = context.problems.check(RuleSection, keys)
    if section is None:
        return None, True
    if section.name in seen:
        line = context.tree.locate(("rules", seen[section.name])).line
        message = f"expected a name of its own, '{section.name}' is taken in line {line}"
        context.problems.add((*keys, "name"), message)
    seen.setdefault(section.name, int(keys[1]))
    is_on = context.is_on(section.switch, keys)
    verb = context.problems.one_of(keys, section, tuple(OWN_KEYS), "one verb")
    if not verb:
        return None, is_on
    _check_keys(context, section, verb, keys)
    parts = Parts()
    READERS[verb](context, section, parts, keys)
    if verb != "arrive" and section.at is not None:
        add_at(context, section, parts, keys)
    parts.modifiers += read_modifiers(context, section.modifiers, parts.actor, (*keys, "modifiers"))
    compartments = read_compartments(context, section, parts, keys)
    if parts.actor is None or not parts.is_good:
        return None, is_on
    rule = Rule(
        name=section.name,
        verb=verb,  # type: ignore[arg-type]
        actor=parts.actor,
        partner=parts.partner,
        outcomes=parts.outcomes,
        rate=section.rate,
        rate_text=str(context.raw(*keys, "rate")),
        reference=section.source,
        number_class=number_class(section.class_, section.source),
        modifiers=tuple(parts.modifiers),
        compartments=compartments,
        note=section.note,
        **parts.extra,
    )
    return rule, is_on


def _check_keys(context: Context, section: RuleSection, verb: str, keys: Keys) -> None:
    given = {name.rstrip("_") for name in section.model_fields_set}
    for key in SPECIAL_KEYS:
        if key in given and key not in OWN_KEYS[verb]:
            owners = " or ".join(v for v, own in OWN_KEYS.items() if key in own)
            message = f"expected '{key}' only beside {owners}, got it beside {verb}"
            context.problems.add((*keys, key), message, at_key=True)


def read_compartments(
    context: Context, section: RuleSection | EffectSection, parts: Parts, keys: Keys
) -> tuple[str, ...]:
    """The compartments a rule acts in: those of its ``in``, or all it does not send cells to."""
    names = context.names["compartments"]
    if section.in_ is None:
        return tuple(name for name in names if name not in parts.goes_to)
    for i, name in enumerate(section.in_):
        is_list = isinstance(context.raw(*keys, "in"), list)
        with context.problems.at(*keys, "in", *((i,) if is_list else ())):
            context.known("compartments", name, "compartment")
            if name in parts.goes_to:
                raise WordError(
                    f"expected another compartment than the one it leaves for, '{name}'"
                )
    return tuple(dict.fromkeys(section.in_))


def check_entries(context: Context, rules: tuple[Rule, ...]) -> None:
    """Every kind of cell sent to a lattice must have a rule by which it arrives there."""
    if any(context.problems.is_in_doubt(section) for section in ("rules", "types", "sets")):
        return
    arrivals: dict[str, list[Pattern]] = {}
    for rule in rules:
        if rule.verb == "arrive" and not rule.is_from_outside:
            for name in rule.compartments:
                arrivals.setdefault(name, []).append(rule.actor)
    for keys, place, product, reactant in context.entries:
        compartment = context.compartments.get(place)
        if compartment is None or compartment.kind != "lattice":
            continue
        for name, values in combinations(product, reactant, context.vocabulary):
            if not any(is_match(pattern, name, values) for pattern in arrivals.get(place, ())):
                inside = ", ".join(f"{axis}={value}" for axis, value in values)
                species = f"{name}[{inside}]" if inside else name
                context.problems.add(
                    keys,
                    f"expected a rule 'arrive: {name}' with 'in: {place}', for {species} would wait "
                    f"at the lattice '{place}' for ever; got none",
                )
                break
