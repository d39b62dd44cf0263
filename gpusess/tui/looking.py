"""Intents of a cockpit that only looks: what would act or cost money is refused here, whichever key asked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn

from gpusess.errors import SessionError

if TYPE_CHECKING:
    from collections.abc import Callable

    from gpusess.providers.base import Offer
    from gpusess.sessions.leftovers import Found
    from gpusess.sessions.offers import Answer
    from gpusess.sessions.wizard import Estimate, Guard, Job
    from gpusess.tui.intents import Intents


class LookOnly:
    """Asks `inner` what can be seen, and refuses the rest."""

    def __init__(self, inner: Intents) -> None:
        self._inner = inner

    def _refuse(self, *_: Any, **__: Any) -> NoReturn:
        raise SessionError("this cockpit only looks", "`gpusess serve --allow-actions`, or the terminal's")

    terminate = stop_run = steer = resume = stranger = launch = _refuse

    def look_around(self) -> None:
        """Nothing: that starts a process. The other cockpits and commands look around."""

    def ssh_argv(self, session_id: str) -> list[str] | None:
        return self._inner.ssh_argv(session_id)

    def reach(self, session_id: str) -> str:
        return self._inner.reach(session_id)

    def leftovers(self) -> list[Found]:
        return self._inner.leftovers()

    def jobs(self) -> list[Job]:
        return self._inner.jobs()

    def offers(self, *, ask: bool, on_answer: Callable[[Answer], None] | None = None) -> list[Answer]:
        return self._inner.offers(ask=ask, on_answer=on_answer)

    def own_machines(self, job: Job) -> list[Answer]:
        return self._inner.own_machines(job)

    def estimate(self, job: Job, offer: Offer, guard: Guard) -> Estimate:
        return self._inner.estimate(job, offer, guard)
