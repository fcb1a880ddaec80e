import pytest
from hypothesis import given
from hypothesis import strategies as st

from foveal.schedules import constant, cosine, linear, multi_step, warm_up

progress = st.floats(0, 1)


@given(progress, st.sampled_from([constant, cosine, linear, multi_step([0.3])]), st.floats(0, 0.9))
def test_every_schedule_stays_between_zero_and_one(p, schedule, fraction):
    assert 0 <= warm_up(schedule, fraction)(p) <= 1


def test_decays_begin_at_one_and_end_at_zero():
    for schedule in (linear, cosine):
        assert schedule(0.0) == 1
        assert schedule(1.0) == 0


@given(progress, progress)
def test_decays_never_rise(a, b):
    for schedule in (linear, cosine, multi_step([0.2, 0.7])):
        assert schedule(max(a, b)) <= schedule(min(a, b))


def test_a_warm_up_rises_to_one_and_then_follows_the_rest():
    schedule = warm_up(linear, 0.2)
    assert schedule(0.0) == 0
    assert schedule(0.1) == pytest.approx(0.5)
    assert schedule(0.2) == pytest.approx(1)
    assert schedule(0.6) == pytest.approx(0.5)
    assert warm_up(cosine, 0) is cosine


def test_multi_step_falls_at_each_milestone_and_nowhere_else():
    schedule = multi_step([0.6, 0.8], 0.5)
    assert [schedule(p) for p in (0, 0.599, 0.6, 0.799, 0.8, 1)] == [1, 1, 0.5, 0.5, 0.25, 0.25]


@pytest.mark.parametrize("fraction", [-0.1, 1.0])
def test_a_warm_up_of_impossible_length_is_refused(fraction):
    with pytest.raises(ValueError, match=r"\[0, 1\)"):
        warm_up(linear, fraction)
