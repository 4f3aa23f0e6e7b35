"""The network's place on the map: the interactive page inside the report."""

from __future__ import annotations

from html import escape

import xarray as xr

from lazyrich.explore.page import page_text

HEIGHT = "52rem"


def map_section(history: xr.Dataset) -> str:
    """The interactive page with this network in its place, in a frame that starts closed.

    It stands in the report itself, so that this stays one file that loads nothing.

    Args:
        history: the history of a probe.
    """
    inside = escape(page_text(history))
    return f"""<h2>On the map</h2>
<details class="map">
<summary>Where this network stands among those that are solved exactly</summary>
<iframe title="Interactive map with this network" loading="lazy" srcdoc="{inside}"
        style="width: 100%; height: {HEIGHT}; border: 0; margin-top: .8rem"></iframe>
</details>"""
