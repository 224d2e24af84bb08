"""The demo: real clients in a lab, and for each request the path that was decided beside the path that was taken."""
