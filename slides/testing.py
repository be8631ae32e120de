"""For tests of this and other distributions: slides to read."""

from slides.synthetic import Kind, draw, write_slide

__all__ = ["Kind", "draw", "write_slide"]
