"""How the containers of videos are built, walked through for damage that FFmpeg passes over."""
