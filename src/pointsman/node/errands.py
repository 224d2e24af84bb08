"""What runs in the background, one errand of each name at a time."""

import asyncio
from collections.abc import Coroutine


class Errands:
    """Remembers what is under way. Whoever begins something reaps it, too: a bug in there is one everywhere."""

    def __init__(self) -> None:
        self.tasks: dict[str, asyncio.Task[None]] = {}

    def begin(self, what: str, work: Coroutine[object, object, None]) -> asyncio.Task[None]:
        """Start something, unless an errand of this name is under way; return the one that is then."""
        if what in self.tasks:
            work.close()
        else:
            self.tasks[what] = asyncio.create_task(work)
        return self.tasks[what]

    def reap(self) -> None:
        """Forget what is done, and raise what went wrong in it."""
        for what in [what for what, task in self.tasks.items() if task.done()]:
            task = self.tasks.pop(what)
            if not task.cancelled():
                task.result()

    async def end(self) -> None:
        """End all of it, and return when it has ended."""
        for task in self.tasks.values():
            task.cancel()
        await asyncio.gather(*self.tasks.values(), return_exceptions=True)
