"""The stage of the flow networks: two frames in, how things move from the first to the second out.

Scenes of photos and cut-outs move as camera and layer do; the flow is exact. Frames are sharp, blurred by their own
motion, or as a deblurring network leaves them, with noise and compression: what a video shows before and after it is
deblurred. What differs from FlowNet (ICCV 2015): blur, rotation and depth, and no flow of more than some 40 pixels.
"""

from __future__ import annotations

from torch import Tensor, nn

from deblurcli.losses import LOSSES
from deblurcli.networks.spec import outputs
from deblurcli.optimiser import new_optimiser
from deblurcli.options.train import FlowTraining
from deblurcli.train.data import Source, flow_pairs, turned_flow
from deblurcli.train.material import Material
from deblurcli.train.recipe import Recipe, Setting, crops, trainee
from deblurcli.train.validation import END_POINT_ERROR, compared, validator

HELD_OUT = 40
"""Pairs to score by."""


def flow_recipe(options: FlowTraining, setting: Setting) -> Recipe:
    """Train a flow network; it is scored by the mean end-point error, beside that of no motion.

    Raises: as :func:`deblur_recipe`.
    """
    start = trainee(setting, options, "flow")
    criterion = LOSSES[start.spec.loss]

    def source(of: Material) -> Source:
        return flow_pairs(of, max(options.crops), start.device.where)

    def scored(net: nn.Module, frames: Tensor, flow: Tensor) -> dict[str, tuple[Tensor, Tensor]]:
        return compared(net(frames), flow.new_zeros(flow.shape), flow, END_POINT_ERROR)

    material, ring, pairs = crops(options, setting, source, HELD_OUT, every=8, first=32, precise=True, turn=turned_flow)
    return Recipe(
        start,
        optimiser=new_optimiser(start.module, options.regime, options.rate),
        ring=ring,
        loss=lambda net, frames, flow: criterion(outputs(net, frames), flow),
        validate=validator(pairs, start.device, scored, END_POINT_ERROR),
        material=material,
        measure=END_POINT_ERROR,
    )
