"""Measure a result, and look into a video."""

from deblurcli import inspect, measure

scores = measure("out.mp4", "sharp.mp4", ssim_mode="luma", lpips="off")
print(f"{scores['psnr']:.2f} dB, SSIM {scores['ssim']:.4f}, flicker {scores['flicker']:.2f}")

alone = measure("out.mp4")
print("NIQE", alone.get("niqe"), "self-shift", alone["self_shift"])

print(*inspect("in.mp4", patches=4).lines(), sep="\n")
