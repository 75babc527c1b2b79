"""One tree from a scenario, the model it names, its overrides and the command line."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TypeAlias, cast

from mst_abm.errors import UnitError, did_you_mean
from mst_abm.scenario.document import Keys, Node, Place, read_file, read_text
from mst_abm.scenario.problems import Problems, WordError, refuse_other_files
from mst_abm.scenario.schema import MODEL_SECTIONS, FileSection
from mst_abm.scenario.states import as_mapping, fill_initial, merge_start
from mst_abm.units import shown, split

SECTIONS = tuple(FileSection.model_fields)
#: Replaced as a whole by a scenario's own; the others are merged key by key, rules by name.
REPLACED = ("protocol",)
#: ``NAME=VALUE``; an equals sign in brackets belongs to the name of cells.
_NAME_AND_VALUE = re.compile(r"((?:[^=\[]|\[[^\]]*\])*)=(.*)", re.DOTALL)
#: What a model cannot be without.
MODEL_CORE = ("types", "rules", "compartments")


def shipped_models() -> list[str]:
    """Names of the models that come with the package."""
    return sorted(path.stem for path in _shipped_folder().glob("*.yaml"))


def _shipped_folder() -> Path:
    return Path(__file__).resolve().parent.parent / "models"


def find_file(name: str, folder: Path) -> Path:
    """A file by path (relative to ``folder``), or a shipped model by name."""
    path = Path(name).expanduser()
    if not path.is_absolute():
        path = folder / path
    if path.is_file():
        return path
    shipped = _shipped_folder() / f"{name}.yaml"
    if shipped.is_file():
        return shipped
    if path.suffix in (".yaml", ".yml") or "/" in name:
        raise WordError(f"no such file: {path}")
    raise WordError(f"no model or file '{name}'{did_you_mean(name, shipped_models())}")


def merge(scenario: Node, folder: Path, overrides: Sequence[str]) -> tuple[Node, Problems]:
    """The whole scenario as one tree; ``model`` and ``override`` are used up."""
    problems = Problems(scenario)
    if not isinstance(scenario.value, dict):
        problems.add(
            (), f"expected sections such as 'types:' and 'rules:', got {shown(scenario.value)}"
        )
        problems.finish()
    refuse_other_files(problems, "scenario", "a scenario")
    _check_sections(scenario, problems)
    tree = scenario
    own = scenario.copy()
    for key in ("model", "override"):
        own.value.pop(key, None)
    as_mapping(own)
    model = scenario.get("model")
    if model is not None:
        try:
            base = read_file(find_file(str(model.value), folder))
        except WordError as error:
            problems.add(("model",), str(error))
            problems.finish()
        base_problems = Problems(base)
        _check_sections(base, base_problems)
        problems.take(base_problems)
        tree = base.copy()
        tree.value.pop("name", None)
        as_mapping(tree)
        _merge_sections(tree, own)
        tree.place = scenario.place
    else:
        tree = own
        _expect_model(own, problems)
    _apply_defaults(tree)
    pairs = _overrides(scenario.get("override"), overrides, problems)
    _apply(tree, [pair for pair in pairs if not _is_initial(pair)], problems)
    problems.tree = tree
    as_mapping(tree)
    fill_initial(tree, problems)
    _apply(tree, [pair for pair in pairs if _is_initial(pair)], problems)
    return tree, problems


def _expect_model(own: Node, problems: Problems) -> None:
    """Without any section of a model of its own, a scenario has forgotten to name one."""
    known = any(own.get(key) for key in MODEL_CORE)
    if known or any(problems.is_in_doubt(key) for key in ("model", *MODEL_CORE)):
        return
    problems.add(
        (),
        f"missing 'model'; expected the name of a model ({', '.join(shipped_models())}) or of a "
        f"file, or the sections {', '.join(MODEL_CORE)}",
    )
    problems.finish()


def _check_sections(node: Node, problems: Problems) -> None:
    for key in list(node.value):
        if key not in SECTIONS:
            problems.add_unknown_key((), key, SECTIONS, "section")
            del node.value[key]


def _merge_sections(tree: Node, own: Node) -> None:
    for key, child in own.value.items():
        before = tree.get(key)
        place = own.keys.get(key)
        if before is None or before.value is None or key in REPLACED:
            tree.put(key, child, place)
        elif key == "start" and isinstance(child.value, dict):
            tree.put(key, merge_start(before, child), place)
        elif key == "rules" and isinstance(child.value, list) and isinstance(before.value, list):
            _merge_rules(before, child)
        elif isinstance(child.value, dict) and isinstance(before.value, dict):
            for name, item in child.value.items():
                _merge_item(key, before, name, item, child.keys.get(name))
        else:
            tree.put(key, child, place)


def _merge_item(section: str, before: Node, name: str, item: Node, place: Place | None) -> None:
    present = before.get(name)
    if section == "switches" and present is not None and isinstance(present.value, dict):
        present.put("default", item, place)
    elif section == "run" and present is not None and isinstance(present.value, dict):
        if isinstance(item.value, dict):
            for key, child in item.value.items():
                present.put(key, child, item.keys.get(key))
        else:
            before.put(name, item, place)
    else:
        before.put(name, item, place)


def _merge_rules(before: Node, own: Node) -> None:
    names = [_name(rule) for rule in before.value]
    for rule in own.value:
        if _name(rule) is not None and _name(rule) in names:
            before.value[names.index(_name(rule))] = rule
        else:
            before.value.append(rule)


def _name(rule: Node) -> str | None:
    child = rule.get("name")
    return str(child.value) if child is not None else None


def _apply_defaults(tree: Node) -> None:
    """patient_defaults below the patient; the patient's switches above the model's."""
    patient, defaults = tree.get("patient"), tree.get("patient_defaults")
    if patient is not None and defaults is not None and isinstance(defaults.value, dict):
        if isinstance(patient.value, dict):
            for key, child in defaults.value.items():
                if key not in patient.value:
                    patient.put(key, child, defaults.keys.get(key))


#: An address, the value to put there, and where both are written.
Override: TypeAlias = tuple[str, Node, Place]


def _is_initial(pair: Override) -> bool:
    """Cells at time zero are changed last, when those of the state that is begun with are there."""
    return pair[0].split(".")[0] == "initial"


def _overrides(
    section: Node | None, overrides: Sequence[str], problems: Problems
) -> list[Override]:
    pairs: list[Override] = []
    if section is not None:
        if isinstance(section.value, dict):
            for name, value in section.value.items():
                pairs.append((name.strip(), value.copy(), section.keys[name]))
        else:
            problems.add(
                ("override",), "expected a mapping such as 'rules.blasts divide.rate: 0.1 /h'"
            )
    for text in overrides:
        place = Place(f"--set {text}")
        match = _NAME_AND_VALUE.match(text)
        if match is None or not match[2].strip():
            problems.found.append(
                place.problem("expected NAME=VALUE, as run.until=7 d, or NAME*=FACTOR")
            )
            continue
        name = match[1].strip().removeprefix("override.")
        pairs.append((name, read_text(match[2], place.file, place=place), place))
    return pairs


def _apply(tree: Node, pairs: Sequence[Override], problems: Problems) -> None:
    for name, value, place in pairs:
        try:
            if name.endswith("*"):
                name = name[:-1].strip()
                value = _times(tree, name, value)
            _set(tree, name, value, place)
        except WordError as error:
            problems.found.append(place.problem(f"{name}: {error}"))


def _times(tree: Node, name: str, factor: Node) -> Node:
    """The value at a dotted address times a factor, in the unit it is written in."""
    node: Node | None = tree
    rest, path = name, cast(Keys, ())
    while rest and node is not None and isinstance(node.value, (dict, list)):
        key, rest = _next_key(node, rest, path)
        path = (*path, key)
        node = node.get(key)
    if node is None or rest:
        raise WordError("expected a number that is written in the model or scenario, got nothing")
    try:
        number, unit = split(node.value)
    except UnitError:
        raise WordError(f"expected a number to multiply, got {shown(node.plain())}") from None
    try:
        times, left = split(factor.value)
    except UnitError:
        times, left = 0.0, "?"
    if left:
        raise WordError(f"expected a plain factor such as 0.5, got {shown(factor.plain())}")
    product = number * times
    return Node(f"{product!r} {unit}" if unit else product, factor.place)


def _set(tree: Node, name: str, value: Node, place: Place) -> None:
    """Put a value at a dotted address; names that contain dots are matched whole."""
    section = name.split(".")[0]
    if section not in SECTIONS or section in ("model", "override"):
        raise WordError(f"unknown section '{section}'{did_you_mean(section, SECTIONS, shown=30)}")
    node, rest = tree, name
    path: Keys = ()
    while True:
        key, rest = _next_key(node, rest, path)
        path = (*path, key)
        if not rest:
            break
        child = node.get(key)
        if child is None or child.value is None:
            child = Node({}, place)
            _put(node, key, child, place)
        if not isinstance(child.value, (dict, list)):
            raise WordError(f"expected nothing below '{key}', which is {shown(child.value)}")
        node = child
    _put(node, key, value, place)


def _put(node: Node, key: str | int, child: Node, place: Place) -> None:
    if isinstance(node.value, list):
        node.value[int(key)] = child
    else:
        node.put(str(key), child, place)


def _next_key(node: Node, rest: str, path: Keys) -> tuple[str | int, str]:
    """The key that ``rest`` starts with, and what is left of it."""
    if isinstance(node.value, list):
        named = [(_name(item) or str(i), i) for i, item in enumerate(node.value)]
    else:
        named = [(key, key) for key in node.value]
    best = ""
    found: str | int = ""
    for word, key in named:
        if (rest == word or rest.startswith(word + ".")) and len(word) > len(best):
            best, found = word, key
    if best:
        return found, rest[len(best) + 1 :]
    first, _, left = rest.partition(".")
    is_new_allowed = isinstance(node.value, dict) and not (
        len(path) == 1 and path[0] in MODEL_SECTIONS and left
    )
    if not is_new_allowed:
        known = [word for word, _ in named]
        candidates = did_you_mean(first, known)
        raise WordError(f"'{'.'.join(map(str, path))}' has no '{first}'{candidates}")
    return first, left
