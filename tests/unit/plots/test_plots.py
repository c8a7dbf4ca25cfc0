"""Plots in one style: any names can be drawn, nothing is cut off, every text can be read."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import replace
from xml.etree import ElementTree as ET

import numpy as np
import pytest
from matplotlib.image import imread

from closedloop.backtest.figures import Round, measure_policies
from closedloop.backtest.plots import draw_policies
from closedloop.decisions.deciding_measure import MEASURES, ROC_AUC
from closedloop.metrics.importance import ColumnImportance, Importance
from closedloop.plots.importance import draw_importance
from closedloop.plots.scores import draw_scores
from closedloop.plots.search import draw_search
from closedloop.plots.style import (
    BLACK,
    GROUND,
    INK,
    Picture,
    choose_ink,
    drawing,
    label_ends,
    make_shades,
    shorten,
)
from tests.spec.examples import comparison

pytestmark = pytest.mark.slow

ODD = ("$\\frac{", "W" * 99, "--><script>alert(1)</script>", "日本\n語", "é" * 30)


def draw_classes(classes: tuple[str, ...]) -> Picture:
    rows, count = 60, len(classes)
    labels = np.arange(rows) % count
    probabilities = np.random.default_rng(1).dirichlet(np.ones(count), rows)
    confusion = tuple(tuple(range(count)) for _ in classes)
    found = replace(comparison().candidate, window=classes[0], confusion=confusion)
    return draw_scores(labels, probabilities, classes, found, classes[1])


def draw_columns() -> Picture:
    columns = [ColumnImportance(name, 0.1, 0.01, None, None, None) for name in ODD]
    columns[0] = ColumnImportance(ODD[0], -0.01, 0, 0.1, 0, 0)
    return draw_importance(Importance(ODD[1], 20, 5, 0.7, 3, tuple(columns)))


def draw_replays(names: tuple[str, ...], count: int = 30) -> Picture:
    blank = Round(1, "w", "x", ("keep",), "", 1, 2, (), 0.5, None, None, False, False)
    rounds = {
        name: [
            replace(
                blank,
                number=number,
                next_window=ODD[number % len(ODD)],
                next_auc=None if number % 9 == 4 else 0.7 + 0.001 * place,
                promoted=number % 2 == 0,
                rolled_back=number == 7,
            )
            for number in range(count)
        ]
        for place, name in enumerate(names)
    }
    return draw_policies(measure_policies(rounds, names), rounds, rounds["always"])


PICTURES: dict[str, Callable[[], Picture]] = {
    "two classes": lambda: draw_classes(ODD[1:3]),
    "five classes": lambda: draw_classes(ODD),
    "nine classes": lambda: draw_classes(tuple(f"{name}{n}" for n in (1, 2) for name in ODD[:4])),
    "columns": draw_columns,
    "search": lambda: draw_search([None, 0.5, None, 0.7], MEASURES[ROC_AUC]),
    "search without a score": lambda: draw_search([None], MEASURES[ROC_AUC]),
    "policies": lambda: draw_replays(("static", "always", "loop", "W" * 99)),
    "two policies, one round": lambda: draw_replays(("static", "always"), 1),
}


@pytest.mark.parametrize("draw", PICTURES.values(), ids=PICTURES)
@pytest.mark.filterwarnings("ignore:Glyph")  # the font has no Japanese
def test_any_names_can_be_drawn_and_nothing_is_cut_off(draw: Callable[[], Picture]) -> None:
    """A dollar sign would begin a formula, and a damaged one would end the training. The edge of
    the picture is empty on all sides. The SVG is whole, runs nothing, asks for nothing elsewhere.
    """
    picture = draw()
    pixels = imread(io.BytesIO(picture.png))[:, :, :3]
    for edge in (pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]):
        assert edge.min() == 1
    root = ET.fromstring(picture.svg)
    for element in root.iter():
        assert element.tag.rpartition("}")[2] not in {"script", "image", "foreignObject"}
        links = [value for name, value in element.attrib.items() if name.endswith("href")]
        assert all(link.startswith("#") for link in links)
    assert [*picture.files("it")] == ["it.png", "it.svg"]


def test_the_same_plot_is_the_same_file() -> None:
    """So that a repeated training writes what is there."""
    first, second = (draw_search([0.5, 0.7], MEASURES[ROC_AUC]) for _ in range(2))
    assert first == second


def test_a_text_is_readable_on_every_shade() -> None:
    """Its colour follows the cell: a contrast of 4.5 to 1 at least (WCAG 2), never black on dark
    blue."""

    def luminance(colour: tuple[float, ...]) -> float:
        parts = [
            part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4
            for part in colour[:3]
        ]
        return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2]

    shades, chosen = make_shades(), set()
    for share in np.linspace(0, 1, 101):
        colour = shades(float(share))
        ink = choose_ink(colour)
        chosen.add(ink)
        text = tuple(int(ink[place : place + 2], 16) / 255 for place in (1, 3, 5))
        light, dark = sorted((luminance(colour), luminance(text)), reverse=True)
        assert (light + 0.05) / (dark + 0.05) > 4.5
    assert chosen == {GROUND, BLACK}
    assert choose_ink(shades(1.0)) == GROUND


def test_names_of_lines_do_not_cover_one_another() -> None:
    """Lines that end at one point, and at the top, have their names at a distance."""
    with drawing(6, 4) as sheet:
        axes = sheet.figure.subplots()
        axes.set_ylim(0, 1)
        label_ends(axes, [(f"line {n}", 1.0, 0.99, INK, n == 0) for n in range(5)], gap=0.1)
    heights = sorted(text.xyann[1] for text in axes.texts)
    assert np.diff(heights) == pytest.approx([0.1] * 4)


def test_a_name_is_shortened_in_one_line() -> None:
    """With a sign for what is left out."""
    assert shorten("a\nb  c", 9) == "a b c"
    assert shorten("abcdef", 4) == "abc…"
