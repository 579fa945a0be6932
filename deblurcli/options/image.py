"""How `deblur image` restores and writes."""

from __future__ import annotations

from dataclasses import dataclass

from deblurcli.options.blur2blur import require_translator, translator_option
from deblurcli.options.option import option, weights
from deblurcli.options.output import PlannedOptions
from deblurcli.options.quality import IMAGE_QUALITIES, fill, quality_option


@dataclass(frozen=True)
class ImageOptions(PlannedOptions):
    """An image's network, and whether it adapts; how it does so are the options of test-time adaptation."""

    quality: str = quality_option(
        "How much time it may take: fast and balanced (the bundled network), or best (the best on this machine). Other"
        " options count more."
    )
    network: str = weights(
        None,
        "Weights: a name of `deblur weights list`, a file, default (bundled, for images), or best (the best on this"
        " machine).",
        usual="default",
    )
    translator: str | None = translator_option("none")
    tta_steps: int | None = option(
        None, "Test-time adaptation: updates on each image; 0 leaves it unadapted.", "Method", least=0, usual="0"
    )

    def __post_init__(self) -> None:
        fill(self, IMAGE_QUALITIES)
        super().__post_init__()
        require_translator(self.translator)
