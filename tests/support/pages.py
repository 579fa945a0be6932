"""What a page tells of a run, made up."""

from __future__ import annotations

from deblurcli.reports.page import run_facts

STRATA = [
    {"pairs": [{"from_pixels": 0.0, "pieces": 3, "gain": 0.02 * step}, {"from_pixels": 3.0, "pieces": 5, "gain": 0.3}]}
    for step in (1, 2)
]
ADAPTATION = {
    "method": "meta",
    "kept": True,
    "reason": "the guard found it better",
    "seconds": 12.5,
    "deblur_losses": [0.03, 0.02, 0.025],
    "looks": [{"step": 10, "gain": 0.1, "strata": STRATA[0]}, {"step": 20, "gain": 0.2, "strata": STRATA[1]}],
    "best_step": 20,
    "gain": 0.15,
    "patches": [{"y": y, "x": 8, "frame": y, "score": 25.1, "contrast": 3.2} for y in (0, 4, 9)],
    "patch_size": 64,
    "options": {"patches": 2},
}
RUN = run_facts(
    ["adapted: 20 steps on 3 patches of 64x64 out of 12 frames in 12.5 s"],
    ["1 frames came out broken; the input frames were written instead"],
    {"method": "meta", "adaptations": [ADAPTATION], "frames": 12},
    {"method": "meta"},
    (256, 144),
)
