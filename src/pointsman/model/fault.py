"""The outside world failing: raised only in edges, caught only in loops."""


class Fault(Exception):
    """What was tried, on what, and why it failed. `label` is stable and meant for programs."""

    def __init__(self, label: str, tried: str, why: str) -> None:
        self.label = label
        self.tried = tried
        self.why = why
        super().__init__(f"{tried}: {why}")
