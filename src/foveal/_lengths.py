"""Lengths with a unit, as people write them."""

import re

MICROMETRES = {
    "pm": 1e-6,
    "nm": 1e-3,
    "um": 1.0,
    "µm": 1.0,  # micro sign
    "μm": 1.0,
    "mm": 1e3,
    "cm": 1e4,
    "m": 1e6,
    "km": 1e9,
}


def parse_length(text: str) -> float:
    """The micrometres of a length such as 64um, 0.5 mm or 30m.

    Raises:
        ValueError: it is none.

    >>> parse_length("64um"), parse_length("0.5 mm")
    (64.0, 500.0)
    """
    found = re.fullmatch(r"(\d+(?:\.\d+)?) *(\w*)", text.strip())
    if found is None or found[2] not in MICROMETRES or float(found[1]) == 0:
        raise ValueError(
            f"a length must be a number of pixels, or one like 64um, 0.5mm or 30m: got {text!r}"
        )
    return float(found[1]) * MICROMETRES[found[2]]


def show_length(micrometres: float) -> str:
    """A length in the largest unit of which there is one at least.

    >>> show_length(0.2513), show_length(500), show_length(3e5)
    ('0.251 um', '500 um', '30 cm')
    """
    unit = next((u for u in ("m", "cm", "mm") if micrometres >= MICROMETRES[u]), "um")
    return f"{micrometres / MICROMETRES[unit]:.3g} {unit}"
