"""House rules as tests: imports point one way, nothing heavy at the door, files name what exists."""

from __future__ import annotations

import ast
import re
import subprocess
import tomllib
from pathlib import Path

import pytest

import mst_abm

PACKAGE = Path(mst_abm.__file__).parent
ROOT = PACKAGE.parent
MODULES = sorted(PACKAGE.rglob("*.py"))

# A room may import those before it, and itself; never those after it.
ROOMS = (
    "version",
    "errors",
    "extras",
    "units",
    "engine",
    "model",
    "clinic",
    "scenario",
    "records",
    "meanfield",
    "runs",
    "report",
    "cli",
)
# Each of these enters through one room.
ONLY_IN = {
    "h5py": "records",
    "ruamel": "scenario",
    "pydantic": "scenario",
    "pint": "units",
    "click": "cli",
    "tqdm": "cli",
    "matplotlib": "report",
    "lifelines": "clinic",
    "SALib": "clinic",
    "sklearn": "clinic",
    "numba": "engine",
}


def room_of(module: Path) -> str:
    return module.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports_of(module: Path) -> list[tuple[str, bool]]:
    """Absolute names imported, and whether at the top of the module."""
    tree = ast.parse(module.read_text())
    top = set(map(id, tree.body))
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [(alias.name, id(node) in top) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}: imports are absolute"
            found.append((node.module or "", id(node) in top))
    return found


@pytest.mark.parametrize("module", MODULES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_point_one_way(module):
    here = room_of(module)
    if here in ("__init__", "__main__"):
        return
    for name, _ in imports_of(module):
        if name.startswith("mst_abm."):
            there = name.split(".")[1]
            assert ROOMS.index(there) <= ROOMS.index(here), f"{here} may not import {name}"
            if here == "engine":
                assert there in ("engine", "errors"), "the engine knows nothing of the house"


@pytest.mark.parametrize("module", MODULES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_every_library_enters_through_one_room(module):
    for name, _ in imports_of(module):
        library = name.split(".")[0]
        if library in ONLY_IN:
            assert room_of(module) == ONLY_IN[library], f"{library} in {module}"


@pytest.mark.parametrize("module", MODULES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_every_module_says_what_it_is_for(module):
    assert ast.get_docstring(ast.parse(module.read_text())), module


def test_the_front_door_imports_nothing_heavy():
    for name in (
        "__init__.py",
        "__main__.py",
        *(f"cli/{p.name}" for p in (PACKAGE / "cli").glob("*.py")),
    ):
        for imported, is_top in imports_of(PACKAGE / name):
            library = imported.split(".")[0]
            assert not is_top or library not in set(ONLY_IN) - {"click"} | {"numpy"}, (
                name,
                imported,
            )


def test_every_library_imported_is_declared():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    declared = {re.split(r"[<>=\[]", item)[0] for item in project["dependencies"]}
    extras = project["optional-dependencies"]
    declared |= {re.split(r"[<>=\[]", item)[0] for items in extras.values() for item in items}
    imported = {name.split(".")[0] for m in MODULES for name, _ in imports_of(m)}
    third_party = imported - set(__import__("sys").stdlib_module_names) - {"mst_abm"}
    owners = {
        "ruamel": "ruamel.yaml",
        "pydantic_core": "pydantic",
        "PIL": "matplotlib",
        "dask_jobqueue": "dask-jobqueue",
        "imageio_ffmpeg": "imageio-ffmpeg",
        "sklearn": "scikit-learn",
    }
    assert {owners.get(name, name) for name in third_party} <= declared


def test_the_pinned_versions_cover_every_dependency():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = list(project["dependencies"])
    for items in project["optional-dependencies"].values():
        wanted += [item for item in items if not item.startswith("mst-abm")]
    pinned = {
        line.split("==")[0].lower()
        for line in (ROOT / "constraints.txt").read_text().splitlines()
        if "==" in line
    }
    assert {re.split(r"[<>=\[]", item)[0].lower() for item in wanted} <= pinned


def test_the_version_is_stated_once_and_cited():
    assert f"version: {mst_abm.__version__}\n" in (ROOT / "CITATION.cff").read_text()
    assert f"## {mst_abm.__version__}" in (ROOT / "CHANGELOG.md").read_text()
    assert "### Changes that alter results" in (ROOT / "CHANGELOG.md").read_text()


def test_make_knows_its_targets():
    for target in ("run", "test", "bench", "verify", "lint", "clean"):
        done = subprocess.run(
            ["make", "--dry-run", "--always-make", target],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
