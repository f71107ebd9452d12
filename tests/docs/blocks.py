"""
How the blocks of the documentation are checked.

Python runs in the namespace of its page, and commands run in bash, in the same directory. A block
of `text` is what the block before it prints, if that is commands or Python with a `print`. So is
the comment behind a `print(…)`. In both, `…` stands for any text. JSON and YAML are parsed.

Comments that a reader of the page does not see say what else there is to know:

- `<!-- not run: REASON -->` above a block leaves it out of the tests. A block in a language that
  nothing here checks needs one.
- `<!-- exits with 1 -->` above commands is their exit status, which is 0 otherwise.
- `<!-- invisible-code-block: bash` has commands that are not part of the page.
"""

from __future__ import annotations

import contextlib
import io
import json
import re
from collections.abc import Iterable

import yaml
from sybil import Document, Example, Region
from sybil.parsers.markdown.lexers import DirectiveInHTMLCommentLexer, FencedCodeBlockLexer
from sybil.parsers.myst import PythonCodeBlockParser
from sybil.typing import Evaluator, Parser

from tests.docs.terminals import Terminals

NOT_RUN = re.compile(r"<!-- not run: (\S.*) -->")

_STATUS = re.compile(r"<!-- exits with (\d+) -->")
_REMARKS = re.compile(r"(?:<!-- [^\n]* -->\s+)*\Z")
_FENCED = FencedCodeBlockLexer(".*")
_INVISIBLE = DirectiveInHTMLCommentLexer("invisible-code-block", "bash")
_PRINTS = re.compile(r"^ *print\(.*\)  # (.+)", re.MULTILINE)
# What a run prints anew each time.
_VARYING = {
    r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}": "ID",
    r"\bin \d+(\.\d)? s( \([\d,]+ events/s\))?": "in TIME",
    r"\b\d+(\.\d)?s +": "TIME ",
    r"\bhttp://127\.0\.0\.1:\d+": "http://127.0.0.1:PORT",
}


def parse_python(document: Document) -> Iterable[Region]:
    """Find the blocks of Python, visible and invisible."""
    for region in PythonCodeBlockParser()(document):
        if region.evaluator:
            region.evaluator = comparing_prints(region.evaluator)
        yield region


def parse_others(document: Document) -> Iterable[Region]:
    """Find all other blocks, and invisible commands. Directives of Sphinx are no blocks."""
    for found in _INVISIBLE(document):
        yield Region(found.start, found.end, found.lexemes["source"], enter_commands)
    check: Evaluator | None
    printed: Evaluator | None = None  # compares a text with what the block before it printed
    for found in _FENCED(document):
        language, source = found.lexemes["language"], found.lexemes["source"]
        if language == "text":
            check, printed = printed, None
        elif language == "python":
            check, printed = None, compare_with_python if "print(" in source else None
        elif language.startswith("{"):
            check, printed = None, None
        elif language in COMMANDS:
            check, printed = COMMANDS[language], compare_with_commands
        else:
            check, printed = DATA.get(language, ask_for_reason), None
        if check is not None:
            yield Region(found.start, found.end, source, check)


def unless_not_run(parse: Parser) -> Parser:
    """Leave out the blocks of which a comment says why they do not run."""

    def parse_what_runs(document: Document) -> Iterable[Region]:
        for region in parse(document):
            if not NOT_RUN.search(remarks_above(document, region.start)):
                yield region

    return parse_what_runs


def remarks_above(document: Document, start: int) -> str:
    """Return the comments between a block and the text before it."""
    found = _REMARKS.search(document.text[:start])
    return found[0] if found else ""


def starts_processes(example: Example) -> bool:
    """Tell whether a block runs commands, or needs those before it."""
    return example.region.evaluator in (*COMMANDS.values(), compare_with_commands)


def terminals_of(example: Example) -> Terminals:
    """Return the terminals of a page, which its first commands open."""
    namespace = example.namespace
    if "_terminals" not in namespace:
        namespace["_terminals"] = Terminals(namespace.get("outbox_of_page", ""))
    terminals: Terminals = namespace["_terminals"]
    return terminals


def comparing_prints(run: Evaluator) -> Evaluator:
    """Compare what Python prints with the comments behind its calls of `print`, too."""

    def run_and_compare(example: Example) -> None:
        with contextlib.redirect_stdout(io.StringIO()) as output:
            run(example)
        example.namespace["_printed"] = printed = output.getvalue()
        print(printed, end="")
        lines = iter(printed.splitlines())
        for shown in _PRINTS.findall(example.parsed):
            if not any(is_shown(shown, line) for line in lines):
                raise AssertionError(f"the page says that this is printed: {shown}")

    return run_and_compare


def enter_commands(example: Example) -> None:
    """Run the commands of a block."""
    found = _STATUS.search(remarks_above(example.document, example.start))
    terminals_of(example).enter(example.parsed, status=int(found[1]) if found else 0)


def follow_session(example: Example) -> None:
    """Run each line that begins with `$`, and compare what it prints with the lines below."""
    for step in re.split(r"^\$ ", example.parsed, flags=re.MULTILINE)[1:]:
        command, _, shown = step.partition("\n")
        terminals_of(example).enter(command)
        compare(shown, terminals_of(example).printed)


def run_javascript(example: Example) -> None:
    """Run a module in Node."""
    terminals_of(example).enter(f"node --input-type=module - <<'END'\n{example.parsed}\nEND")


def compare_with_commands(example: Example) -> None:
    """Compare a text with what the commands before it printed."""
    compare(example.parsed, terminals_of(example).printed)


def compare_with_python(example: Example) -> None:
    """Compare a text with what the Python before it printed."""
    compare(example.parsed, example.namespace["_printed"])


def read_json(example: Example) -> None:
    """Parse it; the tests of a page say what it is for."""
    json.loads(example.parsed)


def read_yaml(example: Example) -> None:
    """Parse it; the tests of a page say what it is for."""
    assert isinstance(yaml.safe_load(example.parsed), dict)


def ask_for_reason(example: Example) -> None:
    """Fail, because nothing checks a block of this language."""
    raise AssertionError("nothing checks this block; say why not: <!-- not run: REASON -->")


COMMANDS: dict[str, Evaluator] = {
    "bash": enter_commands,
    "console": follow_session,
    "javascript": run_javascript,
}
DATA: dict[str, Evaluator] = {"json": read_json, "yaml": read_yaml}


def compare(shown: str, printed: str) -> None:
    """Fail if a page does not show what was printed."""
    if not is_shown(shown, printed):
        raise AssertionError(f"the page shows:\n{shown}\nbut this is printed:\n{printed}")


def is_shown(shown: str, printed: str) -> bool:
    """Tell whether a page shows what was printed, but for what varies."""
    for varying, name in _VARYING.items():
        shown, printed = re.sub(varying, name, shown), re.sub(varying, name, printed)
    pattern = ".*".join(re.escape(part) for part in re.split(r"…|\.\.\.", shown.strip()))
    return re.fullmatch(pattern, printed.strip(), re.DOTALL) is not None
