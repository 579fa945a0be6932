"""Benchmarks: what the program's quality, speed and memory are, and why its networks and defaults are what they are.

    python -m benchmarks                       list them
    python -m benchmarks NAME [ARGUMENTS]      run one; --help says what it takes
    python -m benchmarks tables                write the tables of README.md anew from the results

A benchmark is a module with ``add_arguments(parser)`` and ``run(options) -> list[Table]``. Its tables go to
results/VERSION/NAME.json. The data are not part of the repository.
"""

from __future__ import annotations

BENCHMARKS = {
    "quality": "PSNR, SSIM and flicker of every method on the GoPro clips and stills",
    "stills": "PSNR, SSIM, LPIPS and NIQE of networks on the GoPro stills",
    "classics": "the best unsharp mask and Wiener filter on the GoPro stills",
    "tta": "test-time adaptation on the GoPro stills by number of steps, and its time against a forward pass",
    "neighbours": "the video network against the single-frame one on clips of unseen photos and videos",
    "families": "what each variant of the methods gains on clips of many kinds, and whether its guard knows",
    "lucky": "what detail from sharper frames adds on clips of many kinds",
    "handed_on": "what it gains that each restored frame is handed on to the next one",
    "domains": "what a translator of blur gains for cameras that no network was trained for",
    "translator_stop": "which number, told without the truth, finds the best checkpoint of a translator",
    "reblur2deblur": "Reblur2Deblur in small: models of blur, frames, one clip or all, and what an update costs",
    "pseudo_pairs": "figure 6 of the meta-transferring paper in small: fine-tuning beside meta-testing",
    "speed": "seconds per frame at 1280x720 of networks and of the whole program, fp32 against the default precision",
    "end_to_end": "the whole program against the network alone on the same frames, and where its time goes",
    "scale": "whether time grows as it should: over a video's length, with pixels, for two jobs side by side",
    "convolutions": "3x3 convolutions in float32: direct, by minimal filtering, by other libraries",
    "gpu": "a graphics card beside the processor: agreement, frames a second, adapting",
    "networks": "every deblurring network under none, meta and tta: finite, guarded, time and memory",
    "memory": "peak memory of deblur video on a short and on a long clip, and of deblur image",
    "forecast": "how far the planned time is from what a run takes",
    "segments": "what writing a video in segments costs: size and processor time",
    "adaptation_cost": "the survey against decoding alone, adapting against restoring",
    "authors": "our implementations of published networks against the authors', same weights, in turn",
    "shapes": "what networks of other shapes, another loss and another optimiser reach in equal time",
    "fusion": "what the video network gains from steps along the motion, more frames and other blocks in equal time",
    "joint": "joint training against L1 alone on blur without noise and compression, and why",
    "reblur_capacity": "PSNR of deblurring and reblurring with networks of four sizes",
    "residual": "whether the residual ranks restorations truly, beside NIQE and self-shift",
    "no_reference": "which number, told without the truth, finds the better of two results",
    "only_blurred": "which frames --only-blurred leaves alone, and what restoring them would bring",
    "reblur_losses": "the blur that reblurring networks make against the right one: direction, length and strength",
    "flow_error": "how far flow estimates are off on sharp and blurred frames, by length of the motion",
    "niqe_model": "no figures: estimates the package's NIQE model of sharp photos",
    "frames": "no figures: hashes that tell whether two checkouts give the same frames, weights and pictures",
}
"""Name of the module -> what it measures."""
