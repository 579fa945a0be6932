"""One picture in memory: NumPy arrays and tensors of any size."""

import cv2
import torch

import deblurcli

network = deblurcli.load("plain-unet")

photo = cv2.cvtColor(cv2.imread("photo.png"), cv2.COLOR_BGR2RGB)  # H x W x 3, uint8
sharp = network(photo)  # the same size and type
cv2.imwrite("sharp.png", cv2.cvtColor(sharp, cv2.COLOR_RGB2BGR))

picture = torch.rand(3, 120, 160)  # 3 x H x W in [0, 1]
restored = network(picture)
print(sharp.shape, sharp.dtype, restored.shape, restored.dtype)
