"""What is shown of results: take dataclasses, give text or a picture."""
