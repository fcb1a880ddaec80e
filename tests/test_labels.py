"""Laws of labels: what is predicted, how probable it is, and when it is correct."""

import itertools

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from foveal.data import labels as codec

CLASSES = ("ant", "bee", "cat")
SETS = [names for k in range(4) for names in itertools.combinations(CLASSES, k)]
numbers = st.lists(st.floats(-9, 9).filter(lambda x: abs(x) > 1e-6), min_size=3, max_size=3)
classes = st.sets(st.integers(0, 2))


@given(rows=st.lists(st.tuples(numbers, classes), min_size=1, max_size=6))
def test_a_set_is_correct_if_all_of_it_and_no_other_class_is_predicted(rows):
    logits, truth = zip(*rows, strict=True)
    labels = torch.tensor([[c in names for c in range(3)] for names in truth])
    by_hand = [{c for c in range(3) if x[c] > 0} == names for x, names in rows]
    assert codec.is_correct(torch.tensor(logits), labels).tolist() == by_hand


@given(rows=st.lists(st.tuples(numbers, st.integers(0, 2)), min_size=1, max_size=6))
def test_a_class_is_correct_if_it_has_the_largest_logit(rows):
    logits, truth = zip(*rows, strict=True)
    by_hand = [x.index(max(x)) == label for x, label in rows]
    found = codec.is_correct(torch.tensor(logits, dtype=torch.float64), torch.tensor(truth))
    assert found.tolist() == by_hand


@given(row=numbers)
def test_all_sets_together_are_certain_and_the_predicted_one_is_the_likeliest(row):
    logits = torch.tensor([row], dtype=torch.float64)
    shares = codec.probabilities(logits, multilabel=True)[0].tolist()
    known = dict(zip(CLASSES, shares, strict=True))
    each = {names: codec.joint_probability(names, known) for names in SETS}
    assert sum(each.values()) == pytest.approx(1)
    name = codec.decode(known, multilabel=True)
    assert each[name] == pytest.approx(max(each.values()))
    label = codec.predicted(logits, multilabel=True)[0]
    assert codec.label_name(label, CLASSES) == name


def test_the_joint_probability_of_one_class_is_its_probability():
    shares = {"ant": 0.4, "bee": 0.4, "cat": 0.2}
    assert codec.decode(shares, multilabel=False) == "ant"  # the first of equals
    assert codec.joint_probability("cat", shares) == 0.2


def test_a_probability_of_one_half_is_not_enough_for_a_set():
    assert codec.decode({"ant": 0.5, "bee": 0.6}, multilabel=True) == ("bee",)
    assert not codec.predicted(torch.zeros(1, 2), multilabel=True).any()


def test_a_label_has_a_name_and_a_name_has_a_text():
    assert codec.label_name(1, CLASSES) == "bee"
    every = codec.label_name(torch.tensor([True, False, True]), CLASSES)
    assert every == ("ant", "cat")
    assert [codec.text(name) for name in ("bee", every, ("bee",), ())] == [
        "bee",
        "ant + cat",
        "bee",
        "(none)",
    ]
