"""pointsman: what a request is decides how it travels."""

__version__ = "0.1.0"
