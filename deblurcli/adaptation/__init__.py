"""Adapting networks to one video: the survey of the video, one file per method, and the guard over all of them."""
