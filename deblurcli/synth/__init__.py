"""Motion blur made from sharp pictures: camera paths and moving layers, integrated in linear light.

A scene is a sharp background and, for some, a cut-out layer before it. While the shutter is open the camera follows
a path of translation, rotation and zoom, and the layer a path of its own. The views along the path are averaged in
linear light, then the camera's response, noise and compression are applied. The sharp frame is the exact middle of the
exposure.

All of it is torch and batched: the same code fills a ring of crops on a CPU and every batch on a GPU. Real motion
between the frames of a video (:mod:`deblurcli.synth.motion`) adds what no camera path shows.
"""

from __future__ import annotations
