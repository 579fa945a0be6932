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
    graph = _filter(frame, "select", "eq(interlace_type,TOPFIRST)")
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
            self._graph = _filter(frame, "setfield", self.first)
        self._graph.push(frame)
        return self._graph.pull()


def _filter(frame: av.VideoFrame, name: str, argument: str) -> av.filter.Graph:
    """One of FFmpeg's filters, for frames like this one."""
    graph = av.filter.Graph()
    clock = Fraction(1, av.time_base)
    source = graph.add_buffer(format=frame.format, width=frame.width, height=frame.height, time_base=clock)
    graph.link_nodes(source, graph.add(name, argument), graph.add("buffersink")).configure()
    return graph
