"""A chart of bars as SVG: where the time of a run goes."""

from __future__ import annotations

from html import escape

from benchmarks.results import Table

WIDTH, ROW, LABEL, BAR = 720, 30, 220, 340
"""Pixels: the picture's width, a bar's distance from the next, room for names, and the longest bar."""


def bars(table: Table, title: str) -> str:
    """The rows of a table of name, figure and share (0 to 1), one bar each, as long as the figure is large."""
    height = ROW * (len(table.rows) + 1) + 16
    largest = max(float(figure or 0) for _, figure, _ in table.rows)
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" font-family="sans-serif">',
        f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>',
        f'<text x="12" y="24" font-weight="bold">{escape(title)}</text>',
    ]
    for number, (name, figure, share) in enumerate(table.rows, 1):
        top, long = ROW * number + 8, BAR * float(figure or 0) / largest
        lines += [
            f'<text x="12" y="{top + 16}">{escape(str(name))}</text>',
            f'<rect x="{LABEL}" y="{top + 3}" width="{max(long, 1):.1f}" height="18" fill="#3b6ea5"/>',
            f'<text x="{LABEL + long + 8:.1f}" y="{top + 16}">{figure:.1f} ms, {share:.1%}</text>',
        ]
    return "\n".join([*lines, "</svg>"]) + "\n"
