"""The examples of every command, for its help and its man page; a test parses each."""

from __future__ import annotations

_HOUR = ("An hour of training", "deblur train deblur --data photos/ --out runs/deblur --minutes 60")
_LIKE = ("A run that can be reproduced", "deblur train reblur --data photos/ --out runs/reblur --iterations 20000")

EXAMPLES: dict[str, list[tuple[str, str]]] = {
    "deblur": [
        ("Restore a video", "deblur video in.mp4 -o out.mp4"),
        ("What will be used on this machine", "deblur doctor"),
    ],
    "deblur video": [
        ("Adapt the networks to a video and restore it", "deblur video in.mp4 -o out.mp4"),
        ("Adapt until the result explains the input", "deblur video in.mp4 -o out.mp4 --method reblur2deblur"),
        ("Sharpen the result by test-time adaptation", "deblur video in.mp4 -o out.mp4 --method tta"),
        (
            "Make a camera's blur one that the network knows",
            "deblur video in.mp4 -o out.mp4 --method blur2blur --translator a.safetensors",
        ),
        ("Without adapting, faster", "deblur video in.mp4 -o out.mp4 --method none"),
        ("What would be done, and how long it would take", "deblur video in.mp4 --dry-run"),
        ("The fastest", "deblur video in.mp4 -o out.mp4 --quality fast"),
        ("Three seconds of it, as a preview", "deblur video in.mp4 -o look.mp4 --start 1:02 --duration 3"),
        ("Numbered pictures in, and out", "deblur video frames/ -o out/%06d.png"),
        ("With a page to look at", "deblur video in.mp4 -o out.mp4 --compare run.html"),
        ("All videos of a folder, going on where an earlier run ended", "deblur video clips/ -o out/ --skip-existing"),
        ("Leaving frames that are sharp already alone", "deblur video in.mp4 -o out.mp4 --only-blurred"),
        ("Between two programs", "ffmpeg -i in.mp4 -f yuv4mpegpipe - | deblur video - -o - | mpv -"),
        ("What an earlier run could not do", "deblur video --files-from failed.txt -o out/ --failed failed.txt"),
    ],
    "deblur image": [
        ("One picture", "deblur image photo.jpg -o sharp.png"),
        ("The same, sharpened by test-time adaptation", "deblur image photo.jpg -o sharp.png --tta-steps 5"),
        ("From stdin to stdout, as a PNG", "cat photo.jpg | deblur image - -o - | display"),
        ("Many", "deblur image photos/*.jpg -o out/"),
        ("A folder and all folders in it", "deblur image photos/ -o out/ --recursive"),
        ("By four processes", "deblur image photos/ -o out/ --workers 4 --report report.jsonl"),
    ],
    "deblur frames": [
        ("Two sharp pictures of every second, for photogrammetry", "deblur frames walk.mp4 -o pictures/"),
        ("One of every two seconds, without adapting", "deblur frames walk.mp4 -o out/ --every 2s --method none"),
    ],
    "deblur still": [
        ("A number plate", "deblur still drive.mp4 --at 3.2s -o plate.png"),
        ("Adapted to less around it", "deblur still drive.mp4 --at 1:02.5 --around 0.5s -o plate.png"),
    ],
    "deblur weights": [
        ("What there is", "deblur weights list"),
        ("Whether the files are intact", "deblur weights verify"),
        ("Fetch weights that others published", "deblur weights pull nafnet-w32"),
        ("The same for a licence that is not free", "deblur weights pull restormer --accept-licence"),
        ("Convert a file that was fetched in a browser", "deblur weights import MIMO-UNet.pkl --network mimo-unet"),
    ],
    "deblur compare": [
        ("A page with a slider, for any browser", "deblur compare in.mp4 out.mp4 -o page.html"),
        ("Side by side, with enlarged crops", "deblur compare in.mp4 out.mp4 -o side.mp4"),
        ("A divider that moves to and fro", "deblur compare in.mp4 out.mp4 -o wipe.mp4 --view wipe"),
        ("Two pictures", "deblur compare photo.jpg sharp.png -o both.png"),
        ("Two results", "deblur compare none.mp4 meta.mp4 -o results.html --labels none,meta"),
    ],
    "deblur metrics": [
        ("One video", "deblur metrics out.mp4 sharp.mp4"),
        ("Folders, for a program", "deblur metrics out/ sharp/ --format json"),
        ("Every frame, for a spreadsheet", "deblur metrics out.mp4 sharp.mp4 --per-frame --format csv"),
        ("Without an original", "deblur metrics out.mp4"),
        ("Whether it became better", "deblur metrics out.mp4 --before in.mp4"),
    ],
    "deblur evaluate": [
        ("What the default reaches on GoPro", "deblur evaluate GOPRO_Large/ --layout gopro -o gopro/"),
        ("A quick look", "deblur evaluate REDS/ --layout reds -o reds/ --limit 5"),
        (
            "Another network, adapted to each video",
            "deblur evaluate DVD/ --layout dvd -o out/ --network mprnet --method meta",
        ),
        ("Pairs of your own", "deblur evaluate blurred/ --layout pairs --sharp sharp/ -o mine/"),
    ],
    "deblur inspect": [
        ("What is found in a video", "deblur inspect in.mp4"),
        ("The same as a picture", "deblur inspect in.mp4 -o report.png"),
        ("For a program", "deblur inspect in.mp4 --format json"),
        (
            "What a translator of the camera's blur does",
            "deblur inspect in.mp4 --translator a.safetensors -o report.png",
        ),
    ],
    "deblur synth": [
        ("Pairs from a folder of sharp photos", "deblur synth photos/ -o pairs/"),
        ("A clip of 48 frames from each photo, shaken by hand", "deblur synth photos/ -o pairs/ --frames 48"),
        ("A longer exposure for sharp footage", "deblur synth sharp.mp4 -o pairs/ --shutter 1.5"),
        ("Blur alone", "deblur synth photos/ -o pairs/ --noise 0 --compression 100"),
    ],
    "deblur train": [_HOUR, _LIKE],
    "deblur train deblur": [
        _HOUR,
        ("On a dataset", "deblur train deblur --pairs GOPRO/ --layout gopro --out run/ --minutes 600"),
        ("Going on from weights", "deblur train deblur --data photos/ --out run/ --from nafnet-w32 --minutes 60"),
    ],
    "deblur train hybrid": [
        ("Footage of your camera", "deblur train hybrid --data photos/ --videos clips/ --out run/ --minutes 60"),
    ],
    "deblur train joint": [
        ("Less reblurring loss", "deblur train joint --data photos/ --out run/ --minutes 9 --reblur-weight 0.5"),
    ],
    "deblur train module": [
        ("For a network of your own", "deblur train module --data photos/ --out run/ --minutes 9 --deblurring a.pth")
    ],
    "deblur train meta": [
        ("From the default weights", "deblur train meta --data photos/ --out runs/meta --minutes 60 --from default"),
        ("With a reblurring network", "deblur train meta --data photos/ --out run/ --minutes 9 --reblurring network"),
    ],
    "deblur train fusion": [
        ("For the default of images", "deblur train fusion --data photos/ --out runs/fusion --minutes 90")
    ],
    "deblur train reblur": [_LIKE],
    "deblur train flow": [
        ("Going on from the bundled weights", "deblur train flow --data photos/ --out run/ --from default --minutes 60")
    ],
    "deblur train blur2blur": [
        (
            "A translator for your camera",
            "deblur train blur2blur --blurry a.mp4 --sharp b.mp4 --out run/ --minutes 60",
        ),
    ],
    "deblur train kernel": [
        ("Of the blur that the deblurring networks know", "deblur train kernel --data photos/ --out run/ --minutes 60")
    ],
    "deblur train chain": [
        (
            "All that belongs to a network of your own",
            "deblur train chain --from my.safetensors --data photos/ --out run/",
        ),
        ("In three hours", "deblur train chain --from default --data photos/ --out run/ --minutes 180"),
    ],
    "deblur doctor": [
        ("What will be used on this machine", "deblur doctor"),
        ("How fast it is", "deblur doctor --speed"),
    ],
}
