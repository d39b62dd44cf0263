"""What the cockpit may ask for. It never acts itself: whoever implements this writes requests down and
starts drivers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

    from gpusess.providers.base import Offer
    from gpusess.sessions.leftovers import Found
    from gpusess.sessions.offers import Answer
    from gpusess.sessions.wizard import Estimate, Guard, Job


class Intents(Protocol):
    """Called on the UI's thread: each method returns at once and raises GpusessError where it cannot."""

    def terminate(self, session_id: str, pull_first: bool) -> None:
        """Give the instance back; with `pull_first`, bring home what is not home yet before."""
        ...

    def stop_run(self, session_id: str, run_id: str) -> None:
        """End one run; the instance stays and goes on billing."""
        ...

    def steer(self, session_id: str, run_id: str, ask: dict[str, Any]) -> None:
        """Ask something of a training that runs: the fields of `train_protocol.Ask`, without its id."""
        ...

    def resume(self, session_id: str) -> None:
        """Drive a session on that was cut off or has failed."""
        ...

    def ssh_argv(self, session_id: str) -> list[str] | None:
        """The command that opens a shell on the instance; None where there is none to reach."""
        ...

    def look_around(self) -> None:
        """See to it that what the providers list is known anew before long."""
        ...

    def stranger(self, provider: str, instance_id: str, answer: str) -> None:
        """What the user wants of an unknown instance: adopt, terminate (adopted first) or ignore."""
        ...

    # What follows may take its time: it is called from a thread.

    def reach(self, session_id: str) -> str:
        """The command of `ssh_argv` as one line; empty where there is no instance to reach."""
        ...

    def leftovers(self) -> list[Found]:
        """What bills beside instances, as each provider says now."""
        ...

    def jobs(self) -> list[Job]:
        """The specs that could be started."""
        ...

    def offers(self, *, ask: bool, on_answer: Callable[[Answer], None] | None = None) -> list[Answer]:
        """What the providers offer: with `ask` as they say now, else as they said last.

        on_answer: told of each provider's answer as it comes, in the calling thread.
        """
        ...

    def own_machines(self, job: Job) -> list[Answer]:
        """The user's own machines that a job names: they are no market, and need no key."""
        ...

    def estimate(self, job: Job, offer: Offer, guard: Guard) -> Estimate:
        """What starting a job on an offer comes to."""
        ...

    def launch(self, job: Job, offer: Offer, guard: Guard) -> str:
        """Start a session; its id."""
        ...
