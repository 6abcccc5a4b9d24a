"""The page of the validate stage: rules, quarantined photographs and a sample of the accepted ones."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from tintlab.imaging.color import Byte
from tintlab.imaging.grids import to_data_uri
from tintlab.reports.pages import render

_QUARANTINED_SHOWN = 500


def validation_page(
    findings: Mapping[str, Any],
    quarantine: pd.DataFrame,
    thumbnails: Mapping[str, Byte],
    samples: Sequence[str],
) -> str:
    """Write the page of the validate stage as HTML.

    Args:
        findings: as `stages.validate.Validation.findings`.
        quarantine: columns `photo`, `origin`, `split`, `reason`.
        thumbnails: small sRGB pictures `(h, w, 3)` uint8 by photo; photographs without one are listed by name.
        samples: training photographs to show in a grid.
    """
    uris = {photo: to_data_uri(pixels) for photo, pixels in thumbnails.items()}
    return render(
        "validation.html",
        findings=findings,
        quarantine=quarantine.head(_QUARANTINED_SHOWN).to_dict("records"),
        quarantine_more=max(0, len(quarantine) - _QUARANTINED_SHOWN),
        samples=[(photo, uris[photo]) for photo in samples],
        pictures=uris,
    )
