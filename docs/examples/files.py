"""Files in, files out: what the commands do."""

from deblurcli import deblur_image, deblur_video

result = deblur_video("in.mp4", "out.mp4", method="meta", patches=8, steps=20, overwrite=True)
print(result.destination, *result.lines, sep="\n")
for difference in result.differences:  # what could not be kept besides the pixels
    print("not as in the input:", difference)

deblur_image("photo.png", "sharp.png", tta_steps=5, overwrite=True)
