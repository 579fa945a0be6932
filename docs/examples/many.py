"""Many files with one worker: the network is loaded once, and messages go to the terminal."""

from pathlib import Path

from deblurcli import ComputeOptions, DeblurError, Reporter, Worker, deblur_image

console = Reporter()
worker = Worker(ComputeOptions(device="cpu"), console)
for photo in sorted(Path("photos").glob("*.png")):
    try:
        result = deblur_image(photo, f"sharp-{photo.name}", worker=worker, console=console, skip_existing=True)
        print(result.destination)
    except DeblurError as error:
        print(error.code, error)
