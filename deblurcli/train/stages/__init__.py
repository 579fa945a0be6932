"""The training stages: the material, the losses and the scores of each; one file per stage."""

from __future__ import annotations

from collections.abc import Callable

from deblurcli.train.recipe import Recipe
from deblurcli.train.stages.blur2blur import blur2blur_recipe
from deblurcli.train.stages.deblur import deblur_recipe
from deblurcli.train.stages.flow import flow_recipe
from deblurcli.train.stages.fusion import fusion_recipe
from deblurcli.train.stages.hybrid import hybrid_recipe
from deblurcli.train.stages.joint import joint_recipe
from deblurcli.train.stages.kernel import kernel_recipe
from deblurcli.train.stages.meta import meta_recipe
from deblurcli.train.stages.module import module_recipe
from deblurcli.train.stages.reblur import reblur_recipe

STAGES: dict[str, Callable[..., Recipe]] = {
    "deblur": deblur_recipe,
    "hybrid": hybrid_recipe,
    "joint": joint_recipe,
    "module": module_recipe,
    "meta": meta_recipe,
    "fusion": fusion_recipe,
    "reblur": reblur_recipe,
    "flow": flow_recipe,
    "blur2blur": blur2blur_recipe,
    "kernel": kernel_recipe,
}
"""(options of the stage, setting) -> its recipe."""
