"""The windows of predictions as GeoJSON, which QuPath, QGIS and others draw over the image.

Coordinates are pixels of the full image, x to the right and y down, as QuPath has them.
"""

from collections.abc import Iterable, Iterator
from typing import Any

from foveal import _json
from foveal.data.labels import text
from foveal.evaluation import Result


def windows_geojson(results: Iterable[Result]) -> str:
    """A FeatureCollection (RFC 7946) with a rectangle for each window of each image.

    Properties of a feature: `file`, `label` and `probability` of the image, `patch`, the number of
    the window on the page, from 1, and what QuPath shows: a name, and the label as classification.
    An image that could not be read has none.
    """
    features = [feature for result in results for feature in _features(result)]
    return _json.dumps({"type": "FeatureCollection", "features": features})


def _features(result: Result) -> Iterator[dict[str, Any]]:
    if result.error is not None:
        return
    label = text(result.label)
    for number, (top, left, bottom, right) in enumerate(result.windows, start=1):
        ring = [[left, top], [right, top], [right, bottom], [left, bottom], [left, top]]
        yield {
            "type": "Feature",
            "geometry": {"type": "Polygon", "coordinates": [ring]},
            "properties": {
                "file": result.file,
                "patch": number,
                "label": label,
                "probability": result.probability,
                "objectType": "annotation",
                "name": f"patch {number}",
                "classification": {"name": label},
            },
        }
