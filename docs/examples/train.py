"""Make pairs, and train a network on sharp pictures."""

from deblurcli import synth, train

synth("photo.png", "pairs/blurred/photo.png", blur=12, overwrite=True)

weights = train("deblur", data="photos", out="runs/mine", iterations=4, batch=1, crops=(64,), ring=4)
print(weights)
