"""Windows as GeoJSON: read back they are the windows of the results."""

import itertools
import json

from hypothesis import given, settings
from hypothesis import strategies as st

from foveal.evaluation import Result
from foveal.report.geojson import windows_geojson

PLACES = st.integers(-50, 40_000)
SIDES = st.integers(1, 500)
WINDOWS = st.lists(
    st.tuples(PLACES, PLACES, SIDES, SIDES).map(lambda w: (w[0], w[1], w[0] + w[2], w[1] + w[3])),
    max_size=5,
)


@settings(deadline=None)
@given(windows=st.lists(WINDOWS, max_size=3), label=st.sampled_from(["a b", "ü", ("x", "y"), ()]))
def test_windows_read_back_are_those_of_the_results(windows, label):
    results = [Result(f"{n}.tif", label, 0.5, {}, each) for n, each in enumerate(windows)]
    bad = Result("bad.tif", "", 0.0, {}, [], error="bad.tif: no such file")
    found = json.loads(windows_geojson([*results, bad]))
    assert found["type"] == "FeatureCollection"
    back: dict[str, list[tuple[int, ...]]] = {result.file: [] for result in results}
    for feature in found["features"]:
        (ring,) = feature["geometry"]["coordinates"]
        assert ring[0] == ring[-1]
        steps = itertools.pairwise(ring)
        assert sum(x0 * y1 - x1 * y0 for (x0, y0), (x1, y1) in steps) > 0  # RFC 7946, 3.1.6
        (left, right), (top, bottom) = ((min(each), max(each)) for each in zip(*ring, strict=True))
        properties = feature["properties"]
        back[properties["file"]].append((top, left, bottom, right))
        assert properties["patch"] == len(back[properties["file"]])
        assert properties["classification"] == {"name": properties["label"]}
    assert back == {result.file: result.windows for result in results}
