"""The SVG that pictures of figures need: text, lines and bars, for light and dark pages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from xml.sax.saxutils import escape, quoteattr

Attribute = str | float

_FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"

_STYLE = """
text { font-family: FONT; font-size: 13px; fill: #24292f }
.title { font-size: 18px; font-weight: 600 }
.heading { font-size: 14px; font-weight: 600 }
.value { font-weight: 600; font-variant-numeric: tabular-nums }
.quiet { fill: #57606a; font-size: 12px }
.panel { fill: #ffffff; stroke: #d0d7de }
.grid { stroke: #e3e7eb; fill: none }
.axis { stroke: #8c959f; fill: none }
.mark { stroke: #57606a; stroke-dasharray: 5 4; fill: none }
.spread { stroke: #24292f; stroke-width: 1.5; fill: none }
.edge { stroke: #ffffff }
"""

_DARK_STYLE = """
text { fill: #e6edf3 }
.quiet { fill: #9da7b3 }
.panel { fill: #14181d; stroke: #30363d }
.grid { stroke: #262c33 }
.axis { stroke: #6e7681 }
.mark { stroke: #9da7b3 }
.spread { stroke: #e6edf3 }
.edge { stroke: #14181d }
"""


class Picture:
    """
    A picture that is drawn piece by piece, on its own panel.

    It follows the reader's preference for light or dark, and has its own background, so that it
    can be read on pages that do not.

    Args:
        title: The text above the picture, which screen readers read first.
        description: What screen readers read after that.
        width: The width in pixels, as all lengths.
        colors: For each class, the color of lines and areas, in light and in dark.
    """

    def __init__(
        self,
        title: str,
        description: str,
        *,
        width: float,
        colors: Mapping[str, tuple[str, str]],
    ) -> None:
        self._title = title
        self._description = description
        self._width = width
        self._colors = colors
        self._pieces: list[str] = []
        self.text(24, 36, title, "title")

    def text(self, x: float, y: float, text: str, kind: str = "", *, anchor: str = "start") -> None:
        """Write text; `anchor` says which part of it is at x: start, middle or end."""
        self._pieces.append(
            _element("text", {"x": x, "y": y, "class": kind, "text-anchor": anchor}, text)
        )

    def texts(
        self, x: float, y: float, parts: Sequence[tuple[str, str]], *, anchor: str = "start"
    ) -> None:
        """Write pieces of text one after another, each with its class."""
        spans = "".join(
            f"<tspan{_attributes({'class': kind})}>{escape(text)}</tspan>" for text, kind in parts
        )
        attributes = {"x": x, "y": y, "text-anchor": anchor, "xml:space": "preserve"}
        self._pieces.append(f"<text{_attributes(attributes)}>{spans}</text>")

    def line(self, points: Sequence[tuple[float, float]], kind: str) -> None:
        """Draw a line through points."""
        joined = " ".join(f"{_number(x)},{_number(y)}" for x, y in points)
        self._pieces.append(_element("polyline", {"points": joined, "class": kind}))

    def bar(self, x: float, y: float, width: float, height: float, kind: str) -> None:
        """Draw a bar."""
        attributes = {"x": x, "y": y, "width": width, "height": height, "rx": 2, "class": kind}
        self._pieces.append(_element("rect", attributes))

    def marker(self, x: float, y: float, shape: str, kind: str) -> None:
        """Draw a marker of a line: a circle, square, diamond or triangle."""
        kind = f"{kind} edge"
        if shape == "circle":
            self._pieces.append(_element("circle", {"cx": x, "cy": y, "r": 4.5, "class": kind}))
            return
        corners = _SHAPES[shape]
        points = " ".join(f"{_number(x + right)},{_number(y + down)}" for right, down in corners)
        self._pieces.append(_element("polygon", {"points": points, "class": kind}))

    def drawn(self, height: float) -> str:
        """Return the picture with this height."""
        panel = {"x": 0.5, "y": 0.5, "width": self._width - 1, "height": height - 1, "rx": 8}
        attributes = {
            "xmlns": "http://www.w3.org/2000/svg",
            "viewBox": f"0 0 {_number(self._width)} {_number(height)}",
            "width": self._width,
            "height": height,
            "role": "img",
            "aria-labelledby": "title description",
        }
        lines = [
            f"<svg{_attributes(attributes)}>",
            f'<title id="title">{escape(self._title)}</title>',
            f'<desc id="description">{escape(self._description)}</desc>',
            f"<style>{self._style()}</style>",
            _element("rect", {**panel, "class": "panel"}),
            *self._pieces,
            "</svg>",
        ]
        return "\n".join(lines) + "\n"

    def _style(self) -> str:
        light = _STYLE.replace("FONT", _FONT) + self._color_rules(0)
        dark = _DARK_STYLE + self._color_rules(1)
        return f"{light}@media (prefers-color-scheme: dark) {{{dark}}}\n"

    def _color_rules(self, mode: int) -> str:
        return "".join(
            f".fill-{name} {{ fill: {color[mode]} }}\n"
            f".line-{name} {{ stroke: {color[mode]}; stroke-width: 2.5; fill: none }}\n"
            for name, color in self._colors.items()
        )


_SHAPES = {
    "square": ((-4, -4), (4, -4), (4, 4), (-4, 4)),
    "diamond": ((0, -5.5), (5.5, 0), (0, 5.5), (-5.5, 0)),
    "triangle": ((0, -5), (5, 4), (-5, 4)),
}


def _element(name: str, attributes: Mapping[str, Attribute], text: str = "") -> str:
    opened = f"<{name}{_attributes(attributes)}"
    return f"{opened}>{escape(text)}</{name}>" if text else f"{opened}/>"


def _attributes(attributes: Mapping[str, Attribute]) -> str:
    return "".join(
        f" {name}={quoteattr(value if isinstance(value, str) else _number(value))}"
        for name, value in attributes.items()
        if value != ""
    )


def _number(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")
