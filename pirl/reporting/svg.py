"""A small SVG canvas whose colours follow the reader's light or dark scheme."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

LIGHT = {
    "paper": "#fdfdfb",
    "ink": "#1d1f23",
    "soft": "#5d636d",
    "rule": "#dcdcd6",
    "heat": "#6fa3ea",
    "replay": "#a08a2c",
    "warm_start": "#737982",
    "pi_rl_flow_sde": "#1c5cba",
    "pi_rl_flow_noise": "#0c7f73",
    "sac": "#b9560f",
}
DARK = {
    "paper": "#16181c",
    "ink": "#e8e8e4",
    "soft": "#a0a5ae",
    "rule": "#33373e",
    "heat": "#2f66b3",
    "replay": "#cbb55c",
    "warm_start": "#9aa1ab",
    "pi_rl_flow_sde": "#80aef8",
    "pi_rl_flow_noise": "#4fc4b5",
    "sac": "#ee9f62",
}
FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"


def palette_css() -> str:
    """The colours as CSS variables, dark ones when the reader's system is dark."""

    def declare(colours: dict[str, str]) -> str:
        return " ".join(f"--{name}: {value};" for name, value in colours.items())

    return (
        f":root {{ color-scheme: light dark; {declare(LIGHT)} }}\n"
        f"@media (prefers-color-scheme: dark) {{ :root {{ {declare(DARK)} }} }}"
    )


class Canvas:
    """Collects shapes; coordinates in units of the view box, y downwards."""

    def __init__(self, width: float, height: float) -> None:
        self.width = width
        self.height = height
        self._shapes: list[str] = []

    def line(
        self, x1: float, y1: float, x2: float, y2: float, colour: str = "rule", width: float = 1
    ) -> None:
        """A straight line."""
        self._shapes.append(
            f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="var(--{colour})"'
            f' stroke-width="{width}" stroke-linecap="round"/>'
        )

    def path(self, points: Iterable[tuple[float, float]], colour: str, width: float = 2) -> None:
        """An open path through `points`."""
        text = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        self._shapes.append(
            f'<polyline points="{text}" fill="none" stroke="var(--{colour})" stroke-width="{width}"'
            ' stroke-linejoin="round" stroke-linecap="round"/>'
        )

    def area(self, points: Iterable[tuple[float, float]], colour: str) -> None:
        """A faint filled polygon."""
        text = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        self._shapes.append(f'<polygon points="{text}" fill="var(--{colour})" fill-opacity="0.16"/>')

    def rect(
        self,
        x: float,
        y: float,
        width: float,
        height: float,
        colour: str,
        *,
        opacity: float = 1.0,
        title: str = "",
    ) -> None:
        """A filled rectangle, with a tooltip."""
        tip = f"<title>{escape(title)}</title>" if title else ""
        self._shapes.append(
            f'<rect x="{x:.1f}" y="{y:.1f}" width="{max(width, 0):.1f}" height="{height:.1f}" rx="2"'
            f' fill="var(--{colour})" fill-opacity="{opacity:.3f}">{tip}</rect>'
        )

    def dot(self, x: float, y: float, colour: str, radius: float = 4, title: str = "") -> None:
        """A filled circle, with a tooltip."""
        tip = f"<title>{escape(title)}</title>" if title else ""
        self._shapes.append(
            f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius}" fill="var(--{colour})">{tip}</circle>'
        )

    def text(
        self,
        x: float,
        y: float,
        content: str,
        *,
        anchor: str = "start",
        colour: str = "soft",
        size: float = 12,
        weight: int = 400,
    ) -> None:
        """One line of text; `y` is its baseline."""
        self._shapes.append(
            f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}" font-weight="{weight}"'
            f' fill="var(--{colour})">{escape(content)}</text>'
        )

    def legend(self, entries: Sequence[tuple[str, str]], x: float, y: float, step: float = 132) -> None:
        """Colour keys in one row; entries are (colour, label)."""
        for number, (colour, label) in enumerate(entries):
            left = x + number * step
            self.line(left, y - 4, left + 14, y - 4, colour, 3)
            self.text(left + 20, y, label, colour="ink")

    def render(self, title: str, *, standalone: bool) -> str:
        """The SVG element; `standalone` adds what a file of its own needs.

        Args:
            title: read out by screen readers.
            standalone: with the colours and a background; without, the page supplies both.
        """
        style = ""
        if standalone:
            style = f"<style>{palette_css()}</style><rect width='100%' height='100%' fill='var(--paper)'/>"
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {self.width:.0f} {self.height:.0f}"'
            f' role="img" aria-label="{escape(title)}" font-family="{FONT}">'
            f"{style}{''.join(self._shapes)}</svg>"
        )
