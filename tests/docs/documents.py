"""What README.md and docs/ hold: shell commands and code spans, each with its place."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from markdown_it import MarkdownIt

ROOT = Path(__file__).parents[2]
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
SHELL = {"", "bash", "sh", "shell", "console"}
# `# needs a GPU` above a command covers the rest of its block, behind a command that command.
NEEDS = re.compile(r"#.*\bneeds (a GPU|several GPUs|the hub|a cluster|another machine|root)\b")
PLACEHOLDER = re.compile(r"<[\w -]+>")


@dataclass(frozen=True)
class Quoted:
    """A command or code span, and where it stands."""

    text: str
    place: str
    needs: bool = False

    def __str__(self) -> str:
        return f"{self.place}: {self.text}"

    @property
    def words(self) -> list[str]:
        return [word for word in shlex.split(self.text) if not re.fullmatch(r"[A-Z_]+=\S*", word)]


def commands() -> list[Quoted]:
    """Every shell command of fenced and indented blocks; `a && b` are two."""
    return [command for document in DOCUMENTS for command in _commands(document)]


def spans() -> list[Quoted]:
    """Every `code span`."""
    return [
        Quoted(child.content, _place(document, token.map[0]))
        for document in DOCUMENTS
        for token in _tokens(document)
        for child in token.children or ()
        if child.type == "code_inline"
    ]


def _commands(document: Path) -> Iterator[Quoted]:
    for token in _tokens(document):
        fenced = token.type == "fence" and token.info.split(" ")[0] in SHELL
        if not fenced and token.type != "code_block":
            continue
        marked = False
        first = token.map[0] + fenced
        for offset, line in _logical_lines(token.content):
            needs = NEEDS.search(line) is not None
            marked = marked or (needs and line.startswith("#"))
            line = PLACEHOLDER.sub("NAME", line.removeprefix("$ "))
            for text in re.split(
                r" (?:&&|\|\|?|;) ", " ".join(shlex.split(line, comments=True, posix=False))
            ):
                if text:
                    yield Quoted(text, _place(document, first + offset), needs or marked)


def _logical_lines(content: str) -> Iterator[tuple[int, str]]:
    """Lines with their number; continued ones are joined."""
    lines = iter(enumerate(content.splitlines()))
    for number, line in lines:
        while line.endswith("\\"):
            line = line[:-1] + next(lines)[1]
        yield number, line.strip()


def _tokens(document: Path):
    return MarkdownIt("commonmark").enable("table").parse(document.read_text(encoding="utf-8"))


def _place(document: Path, line: int) -> str:
    return f"{document.relative_to(ROOT)}:{line + 1}"
