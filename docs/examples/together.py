"""Several videos of one camera: the first call adapts to all of them, and every call restores with that."""

from pathlib import Path

from deblurcli import ComputeOptions, Worker, deblur_video

worker = Worker(ComputeOptions(device="cpu"))
Path("restored").mkdir(exist_ok=True)
videos = [Path("in.mp4"), Path("sharp.mp4")]
for video in videos:
    result = deblur_video(video, Path("restored") / video.name, adapt_together=videos, worker=worker, overwrite=True)
    print(result.destination, result.facts["adaptations"][0]["videos"])
