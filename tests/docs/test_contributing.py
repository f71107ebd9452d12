"""CONTRIBUTING shows the package as it is."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]


def rooms_of(lines: list[str]) -> list[set[str]]:
    """Return the names in each line, without the program's entry point."""
    return [set(re.findall(r"\w+", line)) - {"__main__"} for line in lines]


def test_the_map_has_every_room_and_floor() -> None:
    """The table has every room of the list of floors once, floor by floor."""
    page = (ROOT / "CONTRIBUTING.md").read_text()
    table = page.partition("| room | |\n|---|---|\n")[2].partition("\n\n")[0]
    shown = [re.findall(r"`(\w+)`", row.split("|")[1]) for row in table.splitlines()]
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
    floors = rooms_of(contracts["contracts"][0]["layers"])

    names = [name for row in shown for name in row]
    assert sorted(names) == sorted(set().union(*floors))
    floor_of = {name: number for number, floor in enumerate(floors) for name in floor}
    assert [floor_of[name] for name in names] == sorted(floor_of[name] for name in names)


def test_what_is_committed_is_checked_by_the_ruff_of_the_gate() -> None:
    """The hooks of pre-commit install the version of ruff that the extra `lint` pins."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    (pin,) = (need for need in project["optional-dependencies"]["lint"] if need.startswith("ruff"))
    hooks = (ROOT / ".pre-commit-config.yaml").read_text()
    assert re.findall(r"\[\"(ruff[^\"]*)\"\]", hooks) == [pin, pin]
