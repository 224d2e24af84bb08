"""Measurements of pointsman beside its peers: `./dev bench http|decide|flip`; docs/performance.md has the figures."""
