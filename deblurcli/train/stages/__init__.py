"""The training stages: what each network learns from, and with which losses; one file for each."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from deblurcli.train.stages.deblur import train_deblur
from deblurcli.train.stages.fusion import train_fusion
from deblurcli.train.stages.joint import train_joint
from deblurcli.train.stages.meta import train_meta
from deblurcli.train.stages.module import train_module
from deblurcli.train.stages.reblur import train_reblur

STAGES: dict[str, Callable[..., dict[str, Any]]] = {
    "deblur": train_deblur,
    "joint": train_joint,
    "module": train_module,
    "meta": train_meta,
    "fusion": train_fusion,
    "reblur": train_reblur,
}
