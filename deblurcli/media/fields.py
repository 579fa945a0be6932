"""Interlaced frames: which field comes first, and the mark that tells an encoder."""

from __future__ import annotations

from fractions import Fraction

import av

FIELD_ORDERS = ("unknown", "progressive", "tt", "bb", "tb", "bt")
"""FFmpeg's orders, by its numbers: the field that is stored first, then the one that is shown first."""
FIRST_SHOWN = {"tt": "tff", "tb": "tff", "bb": "bff", "bt": "bff"}
"""FFmpeg's words for the field that is shown first: top or bottom field first.

It writes "tb" for frames of which the top field comes first, though QuickTime defines that number the other way round.
"""


def first_field(frame: av.VideoFrame) -> str:
    """ "tt" or "bb": which field of an interlaced frame is shown first.

    PyAV cannot read a frame's flags; FFmpeg's filter ``select`` can.
    """
    graph = av.filter.Graph()
    source = graph.add_buffer(
        format=frame.format, width=frame.width, height=frame.height, time_base=Fraction(1, av.time_base)
    )
    chain = [source, graph.add("select", "eq(interlace_type,TOPFIRST)"), graph.add("buffersink")]
    graph.link_nodes(*chain).configure()
    graph.push(frame)
    try:
        graph.pull()
    except av.BlockingIOError:  # it was not let through
        return "bb"
    return "tt"


class FieldMarks:
    """Marks frames as two fields in an order ("tff", "bff"), or passes them on as they are (empty).

    PyAV cannot write a frame's flags; FFmpeg's filter ``setfield`` can, and copies no samples.
    """

    def __init__(self, first: str) -> None:
        self.first = first
        self._graph: av.filter.Graph | None = None

    def __call__(self, frame: av.VideoFrame) -> av.VideoFrame:
        """The same picture, marked. Its times and colour are to be set afterwards."""
        if not self.first:
            return frame
        if self._graph is None:
            graph = av.filter.Graph()
            size = {"width": frame.width, "height": frame.height}
            source = graph.add_buffer(format=frame.format, time_base=Fraction(1, av.time_base), **size)
            chain = [source, graph.add("setfield", self.first), graph.add("buffersink")]
            graph.link_nodes(*chain).configure()
            self._graph = graph
        self._graph.push(frame)
        return self._graph.pull()
