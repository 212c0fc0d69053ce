"""Draws charts as SVG, coloured by the page's style sheet."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

WIDTH, HEIGHT, LEFT, BELOW, ABOVE = 720, 240, 52, 26, 10


def columns(values: Sequence[tuple[str, float]]) -> Markup:
    """One column for each label, with a scale at the left."""
    top = _round_up(max((value for _, value in values), default=1))
    tall, step = HEIGHT - BELOW - ABOVE, (WIDTH - LEFT) / max(len(values), 1)
    parts = []
    for share in (0, 0.25, 0.5, 0.75, 1):
        y = ABOVE + tall * (1 - share)
        parts.append(f'<line x1="{LEFT}" x2="{WIDTH}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(
            f'<text x="{LEFT - 8}" y="{y + 4:.1f}" class="scale">{top * share:,.0f}</text>'
        )
    for index, (label, value) in enumerate(values):
        x, height = LEFT + index * step, tall * value / top
        parts.append(
            f'<rect x="{x + step * 0.15:.1f}" y="{ABOVE + tall - height:.1f}" rx="2"'
            f' width="{step * 0.7:.1f}" height="{height:.1f}">'
            f"<title>{_safe(label)}: {value:,.0f} €</title></rect>"
        )
        if index % 3 == 0:
            parts.append(f'<text x="{x + step / 2:.1f}" y="{HEIGHT - 8}">{_safe(label)}</text>')
    return _picture(HEIGHT, "Revenue by month, in euros", parts)


def rows(values: Sequence[tuple[str, float]]) -> Markup:
    """One bar for each label, with its value behind it."""
    top, high, left = max((value for _, value in values), default=1), 40, 96
    parts = []
    for index, (label, value) in enumerate(values):
        y, width = index * high, (WIDTH - left - 110) * value / top
        parts.append(f'<text x="0" y="{y + 25}" class="name">{_safe(label)}</text>')
        parts.append(
            f'<rect x="{left}" y="{y + 8}" width="{width:.1f}" height="24" rx="3"'
            f' class="kind{index % 5}"/>'
        )
        parts.append(
            f'<text x="{left + width + 10:.1f}" y="{y + 25}" class="name">{value:,.0f} €</text>'
        )
    return _picture(high * len(values), "Revenue by kind, in euros", parts)


def _picture(height: int, title: str, parts: list[str]) -> Markup:
    # Every text in it went through `_safe`.
    return Markup(  # noqa: S704
        f'<svg viewBox="0 0 {WIDTH} {height}" role="img" class="chart" aria-label="{_safe(title)}">'
        + "".join(parts)
        + "</svg>"
    )


def _safe(text: str) -> Markup:
    return Markup.escape(text)


def _round_up(value: float) -> float:
    """The next 1, 2 or 5 with zeros, so that the scale reads well."""
    size = 1.0
    while size * 10 < value:
        size *= 10
    return next(step * size for step in (1, 2, 4, 6, 8, 10) if step * size >= value)
