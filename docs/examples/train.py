"""Make pairs, and train a network on sharp pictures."""

from pathlib import Path

from deblurcli import make_pairs, train_network

Path("pairs/blurred").mkdir(parents=True, exist_ok=True)
make_pairs("photo.png", "pairs/blurred/photo.png", blur=12, overwrite=True)

# A budget to try it with: an hour (minutes=60) makes a network.
facts = train_network("deblur", "photos", "runs/mine", iterations=4, batch=1, crops=(64,), ring=12)
print(facts["iteration"], "iterations; the weights are runs/mine/plain-unet.safetensors")
