"""docs/testing.md against the programs that it names."""

from __future__ import annotations

import re

from tests.docs.markdown import ROOT, read, sections, table

PROGRAMS = table(sections(read("testing.md"))["Long programs"])
BY_HAND = {"__init__", "__main__"}


def source_of(module: str) -> str:
    """The module, and the package that its options may be declared in."""
    path = ROOT / module.replace(".", "/")
    files = [path / "__main__.py"] if path.is_dir() else [path.with_suffix(".py")]
    return "".join(file.read_text(encoding="utf-8") for file in files)


def test_the_programs_and_their_options_exist() -> None:
    assert len(PROGRAMS) > 10
    for row in PROGRAMS:
        command = row["command"].strip("`")
        module = re.match(r"python -m ([\w.]+)", command)
        assert module is not None, command
        source = source_of(module[1])
        for option in re.findall(r"--[\w-]+", command):
            assert f'"{option}"' in source, (command, option)


def test_all_programs_of_the_folder_of_faults_are_named() -> None:
    named = " ".join(row["command"] for row in PROGRAMS)
    for path in (ROOT / "tests" / "fault").glob("*.py"):
        if 'if __name__ == "__main__"' in path.read_text(encoding="utf-8"):
            assert f"tests.fault.{path.stem} " in named, path
