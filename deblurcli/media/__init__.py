"""Reading and writing of video and image files; the only code that imports av, and cv2 for files."""
