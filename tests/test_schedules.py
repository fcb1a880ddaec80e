import pytest
from hypothesis import given
from hypothesis import strategies as st

from foveal.schedules import constant, cosine, linear, warm_up

progress = st.floats(0, 1)


@given(progress, st.sampled_from([constant, cosine, linear]), st.floats(0, 0.9))
def test_every_schedule_stays_between_nought_and_one(p, schedule, share):
    assert 0 <= warm_up(schedule, share)(p) <= 1


def test_decays_begin_at_one_and_end_at_nought():
    for schedule in (linear, cosine):
        assert schedule(0.0) == 1
        assert schedule(1.0) == 0


@given(progress, progress)
def test_decays_never_rise(a, b):
    for schedule in (linear, cosine):
        assert schedule(max(a, b)) <= schedule(min(a, b))


def test_a_warm_up_rises_to_one_and_then_follows_the_rest():
    schedule = warm_up(linear, 0.2)
    assert schedule(0.0) == 0
    assert schedule(0.1) == pytest.approx(0.5)
    assert schedule(0.2) == pytest.approx(1)
    assert schedule(0.6) == pytest.approx(0.5)
    assert warm_up(cosine, 0) is cosine


@pytest.mark.parametrize("share", [-0.1, 1.0])
def test_a_warm_up_of_impossible_length_is_refused(share):
    with pytest.raises(ValueError, match=r"\[0, 1\)"):
        warm_up(linear, share)
