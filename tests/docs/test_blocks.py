"""Each block of the documentation runs, or says why not."""

from __future__ import annotations

import importlib.util
import re
import tomllib
from collections.abc import Iterable
from pathlib import Path

import pytest
from sybil import Document, Example, Sybil

from tests.docs.blocks import (
    NOT_RUN,
    is_shown,
    parse_others,
    parse_python,
    remarks_above,
    terminals_of,
    unless_not_run,
)

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]


def blocks(folder: Path, text: str) -> list[Example]:
    """Return what is found in a page of this text."""
    page = folder / "page.md"
    page.write_text(text)
    sybil = Sybil(parsers=[unless_not_run(parse_python), unless_not_run(parse_others)])
    return list(sybil.parse(page).examples())


def run(examples: Iterable[Example]) -> None:
    for example in examples:
        example.evaluate()


@pytest.mark.parametrize("language", ["docker", "sh", "toml", ""])
def test_a_block_that_nothing_checks_fails(tmp_path, language):
    """It must say why."""
    (block,) = blocks(tmp_path, f"```{language}\nx\n```\n")
    with pytest.raises(AssertionError, match="say why not: <!-- not run: REASON -->"):
        block.evaluate()


@pytest.mark.parametrize("language", ["docker", "bash", "console", "json", "python"])
@pytest.mark.parametrize("between", ["", "\n", "<!-- test-command -->\n"])
def test_a_block_with_a_reason_is_left_out(tmp_path, language, between):
    """The reason stands right above it, but for other comments."""
    text = f"<!-- not run: it needs Docker -->\n{between}```{language}\nx\n```\n"
    assert blocks(tmp_path, text) == []


@pytest.mark.parametrize("remark", ["not run", "not run:", "not run: ", "not run: x -->\n\nThen"])
def test_a_block_without_a_reason_is_not_left_out(tmp_path, remark):
    """Nor is one whose reason belongs to another block."""
    assert len(blocks(tmp_path, f"<!-- {remark} -->\n```bash\nx\n```\n")) == 1


def test_text_that_no_block_prints_is_a_quote(tmp_path):
    """It is not compared with anything, and directives of Sphinx are Sphinx's."""
    python, *others = blocks(
        tmp_path,
        "```text\na\n```\n```python\nx = 1\n```\n```text\nb\n```\n```{eval-rst}\nc\n```\n",
    )
    assert python.parsed == "x = 1\n"
    assert others == []


@pytest.mark.parametrize(
    ("shown", "printed", "same"),
    [
        ("1 event in 0.1 s (9 events/s)", "1 event in 12.0 s (1,250 events/s)\n", True),
        ("id 7f0c6b1e-5d0c-4f0e-9a43-1b7f2c9d8e10", f"id {'0' * 8}-1-2", False),
        ("http://127.0.0.1:8765/_page/", "http://127.0.0.1:40123/_page/", True),
        ("first\n…\nlast", "first\n2\n3\nlast", True),
        ("<Report of 1 event: ...", "<Report of 1 event: 1 accepted>", True),
        ("first", "first\nlast", False),
        ("2 events", "1 event", False),
    ],
)
def test_what_varies_may_differ(shown, printed, same):
    """Times, rates, ids and ports, and what a page leaves out; nothing else."""
    assert is_shown(shown, printed) == same


@pytest.mark.parametrize(
    "text",
    [
        "```python\nprint(1)  # 2\n```\n",
        "```python\nprint(1)\n```\n```text\n2\n```\n",
        "```python\nprint(1)\nprint(2)  # 2\nprint(1)  # 1\n```\n```text\n1\n2\n```\n",
    ],
)
def test_what_python_does_not_print_fails(tmp_path, text):
    """Whether it stands behind the call or below the block."""
    with pytest.raises(AssertionError, match="the page s"):
        run(blocks(tmp_path, text))


@pytest.mark.slow
@pytest.mark.process
@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("```bash\nexit 3\n```\n", "exit status 3"),
        ("<!-- exits with 1 -->\n```bash\ntrue\n```\n", "exit status 0"),
        ("```bash\nfalse\ntrue\n```\n", "exit status 1"),
        ("```bash\necho a\n```\n\nIt prints:\n\n```text\nb\n```\n", "but this is printed:\na"),
        ("```console\n$ echo a\nb\n```\n", "but this is printed:\na"),
        ("```bash\neventbridge-partner serve --prot 1\n```\n", "unrecognized arguments"),
        ("```bash\neventbridge-partner relay\n```\n", "EVENTBRIDGE_PARTNER_OUTBOX"),
        ("```bash\npip install .\n```\n", "it only installs"),
    ],
)
def test_commands_that_do_not_do_what_the_page_says_fail(tmp_path, monkeypatch, text, says):
    """With what they printed."""
    monkeypatch.chdir(tmp_path)
    found = blocks(tmp_path, text)
    with pytest.raises(AssertionError, match=says):
        run(found)
    terminals_of(found[0]).close()


@pytest.mark.process
def test_what_is_exported_holds_for_the_blocks_below(tmp_path, monkeypatch):
    """As in a shell that stays open."""
    monkeypatch.chdir(tmp_path)
    found = blocks(
        tmp_path,
        "```bash\nexport A='b  c'\n```\n"
        "<!-- invisible-code-block: bash\nA=$A.\n-->\n"
        '```bash\necho "$A"\n```\n```text\nb  c.\n```\n',
    )
    run(found)
    terminals_of(found[0]).close()


# ---------------------------------------------------------------- what does not run


def commands_not_run() -> Iterable[str]:
    """Return the lines of the commands that say why they do not run."""
    for page in PAGES:
        text = page.read_text()
        document = Document(text, str(page))
        for fence in re.finditer(
            r"^```(?:bash|console)\n(.*?)^```", text, re.MULTILINE | re.DOTALL
        ):
            if NOT_RUN.search(remarks_above(document, fence.start())):
                yield from fence[1].splitlines()


def test_commands_that_do_not_run_name_what_there_is():
    """Their files, modules and extras exist."""
    lines = list(commands_not_run())
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    known = extras["optional-dependencies"]
    for line in lines:
        for path in re.findall(r"(?:^|\s)((?:tests|docs|examples|\.ci)/\S+)", line):
            assert (ROOT / path).exists(), line
        for module in re.findall(r"python -m (benchmarks\S*)", line):
            assert importlib.util.find_spec(module), line
        for names in re.findall(r"'\.\[(.*?)\]'", line):
            assert set(names.split(",")) <= set(known), line
    assert len(lines) > 10
