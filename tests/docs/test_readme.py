"""README, as the package index shows it."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

from markdown_it import MarkdownIt

ROOT = Path(__file__).parents[2]


def test_no_link_is_broken_on_the_package_index() -> None:
    """On the index, links to files beside README become text, and pictures are left out."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    hook = project["tool"]["hatch"]["metadata"]["hooks"]["fancy-pypi-readme"]
    (fragment,) = hook["fragments"]
    text = (ROOT / fragment["path"]).read_text()
    for substitution in hook["substitutions"]:
        text = re.sub(substitution["pattern"], substitution["replacement"], text)

    shown = MarkdownIt().enable("table").render(text)
    targets = re.findall(r'(?:href|src)="([^"]*)"', shown)
    assert [target for target in targets if not target.startswith("https://")] == []
    assert "<td>tutorial</td>" in shown
    assert "](" not in re.sub(r"<code.*?</code>", "", shown, flags=re.DOTALL)
