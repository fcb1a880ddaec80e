"""The questions about a billiards picture; the first one is the paper's."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from foveal.paper.data.billiards.scene import Ball

NUMBERS = ("1", "2", "3", "4", "5", "6", "7", "8", "9")
"""Those on the balls."""

COLD = ("green", "blue", "purple")
"""Colours of a left-most ball with which the smallest number is the answer, else the largest."""


@dataclass(frozen=True)
class Question:
    """A question with one answer per picture.

    Attributes:
        answer: from the balls to the class number.
        evidence: the balls that must be seen to answer; the hit rate counts their boxes.
        classes: names of the answers.
    """

    answer: Callable[[Sequence[Ball]], int]
    evidence: Callable[[Sequence[Ball]], tuple[Ball, ...]]
    classes: tuple[str, ...] = NUMBERS


def ends(balls: Sequence[Ball]) -> tuple[Ball, Ball]:
    """The left-most and the right-most ball, by x in space."""
    across = sorted(balls, key=lambda ball: ball.position[0])
    return across[0], across[-1]


def _larger(balls: Sequence[Ball]) -> int:
    return max(ball.number for ball in ends(balls)) - 1


def _right(balls: Sequence[Ball]) -> tuple[Ball, ...]:
    return ends(balls)[1:]


def _sum(balls: Sequence[Ball]) -> int:
    return sum(ball.number for ball in balls) % 10


def _asked(balls: Sequence[Ball]) -> Ball:
    """The ball whose number is the answer, by the colour of the left-most one."""
    extreme = min if ends(balls)[0].color in COLD else max
    return extreme(balls, key=lambda ball: ball.number)


def _by_colour(balls: Sequence[Ball]) -> int:
    return _asked(balls).number - 1


def _left_and_asked(balls: Sequence[Ball]) -> tuple[Ball, ...]:
    return ends(balls)[0], _asked(balls)


QUESTIONS = {
    "max_left_right": Question(_larger, ends),
    "rightmost": Question(lambda balls: _right(balls)[0].number - 1, _right),
    "sum_modulo_10": Question(_sum, tuple, tuple(str(digit) for digit in range(10))),
    "left_colour_min_max": Question(_by_colour, _left_and_asked),
}
"""max_left_right: the larger number of the left-most and the right-most ball. rightmost: the number
of the right-most. sum_modulo_10: the last digit of the sum of all numbers. left_colour_min_max: the
smallest of all numbers if the left-most ball is green, blue or purple, else the largest.

References:
    Cordonnier et al., CVPR 2021; the released data loader has these four.
"""


def ask(name: str, numbers: int = 9) -> Question:
    """The question of that name about balls with numbers up to the largest.

    >>> ask("rightmost", 3).classes
    ('1', '2', '3')

    Raises:
        ValueError: there is no such question.
    """
    if name not in QUESTIONS:
        raise ValueError(f"question must be one of {', '.join(QUESTIONS)}: got {name!r}")
    question = QUESTIONS[name]
    if question.classes != NUMBERS:
        return question
    return replace(question, classes=NUMBERS[:numbers])
