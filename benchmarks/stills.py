"""What networks make of EVAL/gopro_stills, by the tool's own commands: fidelity, and how it looks.

    python benchmarks/stills.py EVAL NETWORK [NETWORK ...] [--lpips FILE]

NETWORK is a registered name or a file of weights. LPIPS needs its weights (`deblur weights pull lpips-alex`), or FILE.
"""

import argparse
import tempfile
from pathlib import Path
from statistics import fmean

from deblurcli import deblur_image, measure

SCORES = {"psnr": ("PSNR (dB)", ".2f"), "ssim": ("SSIM", ".4f"), "lpips": ("LPIPS", ".4f"), "niqe": ("NIQE", ".3f")}


def pairs(folder: Path) -> list[tuple[Path, Path]]:
    """Blurred picture and sharp reference, ``X.png`` and ``X_gt.png``, of every still in a folder."""
    references = sorted(folder.glob("*_gt.png"))
    return [(reference.with_name(reference.name.replace("_gt", "")), reference) for reference in references]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("eval", type=Path)
    parser.add_argument("networks", nargs="+", metavar="NETWORK")
    parser.add_argument("--lpips", default="alex", metavar="FILE")
    options = parser.parse_args()
    print(f"| network | {' | '.join(title for title, _ in SCORES.values())} |\n|{'---|' * (1 + len(SCORES))}")
    with tempfile.TemporaryDirectory() as work:
        for network in ("input", *options.networks):
            rows = []
            for picture, reference in pairs(options.eval / "gopro_stills"):
                if network != "input":
                    deblur_image(picture, Path(work, "out.png"), network=network, overwrite=True)
                    picture = Path(work, "out.png")
                rows.append(measure(picture, reference, niqe=True, lpips=options.lpips))
            means = (format(fmean(row[name] for row in rows), form) for name, (_, form) in SCORES.items())
            print(f"| {network} | {' | '.join(means)} |", flush=True)
