"""Measurements of pointsman beside its peers: `./dev bench http|decide|flip`. What they say is in docs/performance.md."""
