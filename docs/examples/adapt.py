"""Adapt a network to frames, restore them, and keep it for more."""

import cv2

import deblurcli

capture = cv2.VideoCapture("in.mp4")
frames = []
while (found := capture.read())[0]:
    frames.append(cv2.cvtColor(found[1], cv2.COLOR_BGR2RGB))

adapted = deblurcli.adapt(frames, method="meta", patches=8, steps=16)
if adapted.outcome is not None:
    print(adapted.outcome.line())
for sharp in adapted.frames(frames):
    print(sharp.mean())

adapted.save("mine.safetensors", overwrite=True)
same = deblurcli.load("mine.safetensors")
