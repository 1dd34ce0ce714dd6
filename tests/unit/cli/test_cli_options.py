"""Values of options: what is taken, and one line that names what would have been."""

from __future__ import annotations

import pytest

from dptkit.cli.options import check_choice, parse_choices, parse_colour
from dptkit.errors import ConfigError


@pytest.mark.parametrize(
    ("text", "colour"),
    [("white", (255, 255, 255)), ("Black", (0, 0, 0)), ("gray", (128, 128, 128)), ("#0aFf01", (10, 255, 1))],
)
def test_colours(text: str, colour: tuple[int, int, int]) -> None:
    assert parse_colour(text) == colour


@pytest.mark.parametrize(
    "text",
    [
        *("blu", "#fff", "#1234567", "#gg0000", ""),
        pytest.param("#+1+2+3"),
        pytest.param("# 1 2 3"),
    ],
)
def test_not_colours(text: str) -> None:
    with pytest.raises(ConfigError, match="not a colour"):
        parse_colour(text)


def test_choices_are_taken_once_in_order_with_spaces() -> None:
    assert parse_choices(" b, a,b,", ("a", "b"), "--format") == ("b", "a")


@pytest.mark.parametrize("text", ["", ",", "a,c", "A"])
def test_unknown_choices_name_the_option_and_what_there_is(text: str) -> None:
    with pytest.raises(ConfigError, match=r"^--format: .* is none of a, b$"):
        parse_choices(text, ("a", "b"), "--format")


def test_a_near_value_is_offered() -> None:
    with pytest.raises(ConfigError, match="did you mean inferno"):
        check_choice("infrno", ("inferno", "magma"), "--colormap")
