"""The wheel: what is in it, and that it works where there is no checkout; and which package may import which."""

import ast
import os
import re
import subprocess
import sys
import sysconfig
import tomllib
import venv
import zipfile
from collections.abc import Iterator
from graphlib import TopologicalSorter
from itertools import chain
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]

#: Each package, and those it may import. Arrows only ever point down.
BELOW = {
    "spadsr": {"simulate", "hardware", "noise_model"},
    "simulate": {"hardware", "noise_model"},
    "hardware": {"noise_model"},
    "noise_model": set(),
}


#: The rooms of a package by floor, highest first. A room sees those on lower floors and itself, not its neighbours.
FLOORS = {
    "spadsr": [
        {"__main__"},
        {"cli"},
        {"bench", "files", "demo", "experiments"},
        {"training", "evaluation", "export", "acquisition", "live", "api"},
        {"restoration", "calibration"},
        {"motion"},
        {"networks", "pictures", "provenance", "namesakes"},
    ],
    "hardware": [
        {"cameras", "recording", "testing"},
        {"captures"},
        {"formats"},
        {"hdf5"},
        {"camera", "parsing"},
        {"settings", "plugins"},
    ],
}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of this checkout."""
    pytest.importorskip("hatchling", reason="hatchling builds the wheel; it comes with the extra `test`")
    folder = tmp_path_factory.mktemp("wheel")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "wheel", "--no-deps", "--no-build-isolation"]
    subprocess.run([*pip, "--quiet", "--wheel-dir", folder, ROOT], check=True, capture_output=True)
    [path] = folder.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def installed(wheel: Path) -> Path:
    """An environment with nothing but the wheel in it; what it depends on is that of this environment.

    A path in a `.pth` file shows installed libraries, but not the checkout that is installed to be edited beside them.
    """
    folder = wheel.with_name("environment")
    venv.create(folder)
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--python", folder / "bin" / "python"]
    subprocess.run([*pip, "install", "--no-deps", "--no-index", "--quiet", wheel], check=True, capture_output=True)
    libraries = "\n".join({sysconfig.get_path("purelib"), sysconfig.get_path("platlib")})
    packages(folder).joinpath("libraries.pth").write_text(libraries)
    return folder


def packages(environment: Path) -> Path:
    """Where the packages of an environment are."""
    [path] = environment.glob("lib/python*/site-packages")
    return path


def run(installed: Path, program: str, *arguments: str | Path, folder: Path) -> str:
    """What a program of the environment says, outside the checkout."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"} | {"OMP_NUM_THREADS": "1"}
    command = [installed / "bin" / program, *arguments]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def names(wheel: Path) -> list[str]:
    return zipfile.ZipFile(wheel).namelist()


def test_four_packages_and_no_more(wheel: Path) -> None:
    tops = {name.split("/")[0] for name in names(wheel)}
    assert {top for top in tops if not top.endswith(".dist-info")} == set(BELOW)


def test_every_file_that_is_needed_is_inside_and_none_is_large(wheel: Path) -> None:
    there = set(names(wheel))
    assert {f"{package}/py.typed" for package in BELOW} <= there
    configs = {f"noise_model/configs/{path.relative_to(ROOT / 'configs')}" for path in ROOT.glob("configs/*/*.yaml")}
    assert {f"noise_model/configs/sensors/{name}.yaml" for name in ("spc3", "spad512")} <= configs <= there
    assert {f"spadsr/weights/{name}.safetensors" for name in ("base", "tiny")} <= there
    assert {str(path.relative_to(ROOT)) for path in ROOT.glob("spadsr/live/page/*")} <= there
    assert "spadsr/napari.yaml" in there
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in there)
    assert max(entry.file_size for entry in zipfile.ZipFile(wheel).infolist()) <= 16e6


def test_every_module_is_inside(wheel: Path) -> None:
    modules = {str(path.relative_to(ROOT)) for package in BELOW for path in (ROOT / package).rglob("*.py")}
    assert modules == {name for name in names(wheel) if name.endswith(".py")}


def test_the_wheel_makes_the_command(wheel: Path) -> None:
    [entry_points] = [name for name in names(wheel) if name.endswith("entry_points.txt")]
    said = zipfile.ZipFile(wheel).read(entry_points).decode()
    assert "spadsr = spadsr.cli:main" in said
    assert "[napari.manifest]\nspadsr = spadsr:napari.yaml" in said


_LOAD = """
from pathlib import Path
import noise_model, simulate, hardware, spadsr
from noise_model.config_files import shipped_configs
from noise_model.sensor import Sensor
from simulate.recipe import SimulationRecipe
from spadsr.training.recipe import load_recipe
from spadsr.restoration.weights import SHIPPED, load_restorer
for package in (noise_model, simulate, hardware, spadsr):
    print(Path(package.__file__).parents[1])
print(shipped_configs().parents[1])
print(SHIPPED["tiny"].parents[2])
print(*[Sensor.load(name).shape for name in ("spc3", "spad512")])
print(SimulationRecipe.load().shape)
print(*[load_recipe(path.stem, []).steps > 0 for path in shipped_configs().glob("train/*.yaml")])
print(load_restorer().name, load_restorer("tiny").name)
"""


def test_presets_recipes_and_weights_load_outside_the_checkout(installed: Path, tmp_path: Path) -> None:
    *places, sensors, shape, recipes, weights = run(installed, "python", "-c", _LOAD, folder=tmp_path).splitlines()
    assert places == [str(packages(installed))] * 6
    assert (sensors, shape, weights) == ("(64, 32) (512, 512)", "(64, 32)", "base tiny")
    assert set(recipes.split()) == {"True"}


def test_the_command_works_outside_the_checkout(installed: Path, tmp_path: Path) -> None:
    weights = packages(installed) / "spadsr" / "weights" / "base.safetensors"
    assert "spadsr weights" in run(installed, "spadsr", "info", weights, folder=tmp_path)
    assert not list(tmp_path.iterdir())


def test_the_demo_runs_outside_the_checkout(installed: Path, tmp_path: Path) -> None:
    run(installed, "spadsr", "demo", folder=tmp_path)
    assert (tmp_path / "spadsr-demo" / "demo.png").read_bytes().startswith(b"\x89PNG")


def test_the_lock_file_holds_what_is_needed_from_the_public_index() -> None:
    """`uv lock` makes it anew."""
    lock = tomllib.loads((ROOT / "uv.lock").read_text())
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    [own] = [each for each in lock["package"] if each["name"] == "spadsr"]
    asked = [*project["dependencies"], *chain.from_iterable(project["optional-dependencies"].values())]
    wanted = {(canonicalize_name(each.name), each.specifier) for each in map(Requirement, asked)}
    locked = {(each["name"], SpecifierSet(each.get("specifier", ""))) for each in own["metadata"]["requires-dist"]}
    assert locked == wanted
    addresses = {
        urlsplit(address).netloc for address in re.findall(r'"(https?:[^"]*)"', (ROOT / "uv.lock").read_text())
    }
    assert addresses == {"pypi.org", "files.pythonhosted.org"}


def modules_of(package: str) -> dict[str, Path]:
    """Dotted names of a package's modules, and where they are."""
    paths = (ROOT / package).rglob("*.py")
    return {".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path for path in paths}


MODULES = {name: path for package in BELOW for name, path in modules_of(package).items()}


def imports(path: Path) -> Iterator[tuple[str, str]]:
    """(module, name taken from it) of every import in a module, those inside functions included."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((alias.name, "") for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: a relative import"
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                yield (inner, "") if inner in MODULES else (str(node.module), alias.name)


@pytest.mark.parametrize("package", BELOW)
def test_packages_import_only_downwards(package: str) -> None:
    assert modules_of(package)
    for path in modules_of(package).values():
        tops = {module.split(".")[0] for module, _ in imports(path)}
        up = tops & (set(BELOW) | {"tests"}) - {package} - BELOW[package]
        assert not up, f"{path} imports {up}"


@pytest.mark.parametrize("package", FLOORS)
def test_rooms_import_only_downwards(package: str) -> None:
    floor = {room: level for level, rooms in enumerate(reversed(FLOORS[package])) for room in rooms}
    inside = {name: path for name, path in modules_of(package).items() if name != package}
    assert {name.split(".")[1] for name in inside} == set(floor)
    for name, path in inside.items():
        own = name.split(".")[1]
        seen = {module.split(".")[1] for module, _ in imports(path) if module.startswith(f"{package}.")}
        up = {room for room in seen - {own} if floor[room] >= floor[own]}
        assert not up, f"{name} imports {up}"


def test_modules_import_no_circle() -> None:
    below = {name: {module for module, _ in imports(path) if module in MODULES} for name, path in MODULES.items()}
    list(TopologicalSorter(below).static_order())


def test_only_the_command_line_knows_its_libraries_and_options() -> None:
    """Messages of all others name arguments, from which the command line makes options."""
    option = re.compile(r"(?<![-\w])--[a-z]|(?<![-\w])-o\b")
    for name, path in MODULES.items():
        if name.startswith("spadsr.cli"):
            continue
        assert not {module.split(".")[0] for module, _ in imports(path)} & {"typer", "rich", "click"}, name
        texts = (node.value for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Constant))
        named = [text for text in texts if isinstance(text, str) and option.search(text)]
        assert not named, f"{name} names options: {named}"


@pytest.mark.parametrize("package", BELOW)
def test_no_module_takes_a_private_name_of_another(package: str) -> None:
    for name, path in modules_of(package).items():
        taken = [taken for module, taken in imports(path) if module in MODULES and taken.startswith("_")]
        assert not [each for each in taken if not each.startswith("__")], f"{name} takes {taken}"
