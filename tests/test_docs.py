"""The docs say what is true: their commands parse, their Python runs, and the glossary names what there is."""

import importlib
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from spadsr.cli.app import app, main
from spadsr.training.recipe import load_recipe

ROOT = Path(__file__).parents[1]
PAGES = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", *ROOT.glob("docs/*.md")])

#: A command in a code block, continued over lines that end in a backslash.
_LINE = re.compile(r"^(?: {4})?(?:\.venv/bin/)?spadsr ((?:.*\\\n)*.*)", re.MULTILINE)

#: A whole command in running text, with arguments: more than its mere name.
_INLINE = re.compile(r"`spadsr ((?!bench [a-z]+`|emulate [a-z0-9]+`)[a-z]+ [^`-][^`]*)`")


def commands() -> Iterator[tuple[str, str]]:
    """(name of the page, arguments) of every command in the docs."""
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for arguments in (*_LINE.findall(text), *_INLINE.findall(text)):
            yield page.name, arguments.replace("\\\n", " ")


def parse(command: Any, arguments: list[str], parent: Any = None) -> None:
    """Parses a command line as the program does, without running it."""
    context = command.make_context(command.name, list(arguments), parent)
    if hasattr(command, "resolve_command"):  # a group of commands
        _, inner, rest = command.resolve_command(context, [*context._protected_args, *context.args])
        parse(inner, rest, context)


@pytest.mark.parametrize(("page", "line"), sorted(set(commands())))
def test_commands_parse(page: str, line: str) -> None:
    arguments = shlex.split(line, comments=True)
    parse(typer.main.get_command(app), arguments)
    if arguments[0] == "train":
        words = [word for word in arguments[1:] if word != "..."]
        recipe = next((word for word in words[:1] if re.fullmatch("[a-z]+", word)), None)
        load_recipe(recipe, [word for word in words if re.match(r"[a-z_.]+=", word)])


def test_there_are_commands_on_the_pages_of_commands() -> None:
    assert {
        "README.md",
        "restore.md",
        "acquire.md",
        "calibrate.md",
        "dataset.md",
        "train.md",
        "evaluate.md",
        "live.md",
    } <= {page for page, _ in commands()}
    assert len(set(commands())) > 50


def test_a_command_that_there_is_not_does_not_parse() -> None:
    with pytest.raises(Exception, match="No such option"):
        parse(typer.main.get_command(app), ["infer", "capture.h5", "--no-such-option"])
    with pytest.raises(Exception, match="No such command"):
        parse(typer.main.get_command(app), ["bench", "nothing"])


def _spadsr(monkeypatch: pytest.MonkeyPatch, line: str) -> None:
    monkeypatch.setattr("sys.argv", ["spadsr", *shlex.split(line)])
    with pytest.raises(SystemExit) as end:
        main()
    assert not end.value.code, line


#: What a reader has before a page's Python runs, as commands.
BEFORE = {
    "README.md": ["acquire --camera simulated -o capture.h5 --frames 64"],
    "dataset.md": ["simulate --scenes 2 -o set"],
    "export.md": ["export --sensor spc3 --weights tiny -o base_x4.onnx"],
    "restore.md": ["acquire --camera simulated -o capture.h5 --frames 20"],
    "motion.md": ["acquire --camera simulated -o capture.h5 --frames 64"],
    "python.md": ["acquire --camera simulated -o capture.h5 --frames 200"],
}

#: Pages whose Python is files of a package, which another test builds and uses, or needs a live view that runs.
BUILT = {"extend.md", "live.md"}


def python_of(page: Path) -> list[str]:
    return re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)


@pytest.mark.parametrize("page", [page for page in PAGES if python_of(page) and page.name not in BUILT], ids=str)
def test_python_runs_from_top_to_bottom(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for line in BEFORE.get(page.name, []):
        _spadsr(monkeypatch, line)
    names: dict[str, object] = {}
    for block in python_of(page):
        exec(compile(block, page.name, "exec"), names)


def resolved(name: str) -> object:
    """What a dotted name stands for: a module, or something in one."""
    module, _, rest = name.rpartition(".")
    return getattr(importlib.import_module(module), rest)


def test_the_glossary_names_what_there_is() -> None:
    rows = re.findall(r"^\| ([a-z ]+) \| .* \|(.*)\|$", (ROOT / "docs" / "glossary.md").read_text(), re.MULTILINE)
    names = {name for _, code in rows for name in re.findall(r"`([\w.]+)`", code)}
    assert len(rows) >= 12
    assert len(names) >= 8
    for name in names:
        assert resolved(name) is not None


def test_links_lead_somewhere() -> None:
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for target in re.findall(r"\]\((?!https?:)([^)#]+)", text) + re.findall(r'<img src="([^"]*)"', text):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_figures_of_the_readme_are_those_of_the_docs() -> None:
    """Figures that are measured anew have to be brought here as well."""
    table = (ROOT / "README.md").read_text(encoding="utf-8").split("## Who wins where")[1].split("\n\n")[2]
    docs = "\n".join(page.read_text(encoding="utf-8") for page in ROOT.glob("docs/*.md"))
    figures = set(re.findall(r"\b\d+\.\d+\b", table))
    assert len(figures) > 20
    assert figures <= set(re.findall(r"\b\d+\.\d+\b", docs))
