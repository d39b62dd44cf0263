"""Which host key a session's instance must answer with. It is pinned before anything is sent, in
`host_key.pub` of the session's folder; while another key answers, or none is known, nothing is sent.
"""

from __future__ import annotations

from gpusess.errors import BadRequest, HostKeyMismatch, Unreachable
from gpusess.providers.base import Endpoint, HostKey, PrintsHostKey, Provider
from gpusess.remote.host_key import answering_key
from gpusess.sessions import presence
from gpusess.sessions.context import Context, link_log

FILE = "host_key.pub"


def check_before_launch(ctx: Context, provider: Provider) -> None:
    """Refuse a launch whose instance could not be told from another machine. Raises BadRequest."""
    if provider.abilities.host_key is HostKey.FIRST_USE and not ctx.spec.resources.trust_first_use:
        raise BadRequest(
            f"{provider.name} has no way to know an instance's SSH host key before the first connection",
            "choose another provider, or take whichever key answers first: `resources.trust_first_use: true`",
        )


def pinned(ctx: Context) -> list[str]:
    """The key that was minted for, or learnt of, the session's instance; empty where none is known yet."""
    try:
        return [(ctx.folder / FILE).read_text().strip()]
    except FileNotFoundError:
        return []


async def learn(ctx: Context, endpoint: Endpoint) -> None:
    """Find out the instance's key where the launch could not set it, and pin it.

    Raises Unreachable (not yet: try again) and HostKeyMismatch (never: nothing vouches for the key).
    """
    kind = ctx.provider.abilities.host_key
    if kind is HostKey.OWN or pinned(ctx):
        return
    if kind is HostKey.LOGGED:
        await _from_the_log(ctx, endpoint)
    elif kind is HostKey.FIRST_USE and ctx.spec.resources.trust_first_use:
        line, fingerprint = await answering_key(endpoint)
        _pin(ctx, line, f"{fingerprint}, taken on first use")
        link_log.warning("the host key %s is taken on first use: nothing vouches for it", fingerprint)
    else:
        raise HostKeyMismatch(
            f"no host key of {endpoint.host} is known: nothing was sent",
            "`gpusess terminate` gives the instance back; a new launch sets a key of its own",
        )


async def _from_the_log(ctx: Context, endpoint: Endpoint) -> None:
    """The provider's log, read over TLS, has the fingerprints that the instance printed at its start."""
    assert isinstance(ctx.provider, PrintsHostKey)
    instance = await presence.look(ctx)
    printed = await ctx.provider.host_fingerprints(instance) if instance else []
    if not printed:
        raise Unreachable(f"the log of {ctx.provider.name} does not show the instance's host key yet")
    line, fingerprint = await answering_key(endpoint)
    if fingerprint not in printed:
        raise HostKeyMismatch(
            f"another machine answers at {endpoint.host}: {fingerprint} is not in the instance's log; "
            "nothing was sent",
            "terminate it and launch another one",
        )
    _pin(ctx, line, f"{fingerprint}, as in the provider's log")


def _pin(ctx: Context, line: str, how: str) -> None:
    (ctx.folder / FILE).write_text(line + "\n")
    ctx.store.update(ctx.id, options={**ctx.row.options, "host_key": how})
    link_log.info("host key %s", how)
