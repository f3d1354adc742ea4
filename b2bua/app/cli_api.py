"""`x700 api`: the HTTP API alone. It is put together here: settings, stores, the way to the switch."""

import asyncio
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import structlog
import uvloop

from b2bua.api.app import create_app
from b2bua.api.context import ApiSettings, Asker, Context, SwitchUnavailable
from b2bua.api.server import listen, serve
from b2bua.app.config import ConfigError, Settings
from b2bua.app.config_api import api_tls
from b2bua.app.control import NoSwitch, ask
from b2bua.app.logs import configure
from b2bua.app.notify import notify
from b2bua.app.storage import binding_store
from b2bua.app.tls import TlsError
from routing.errors import StoreError
from routing.store.keys import KeyReader
from routing.store.sqlite import Store
from routing.trunks import Peer, format_peer

__all__ = ["context_of", "run_api"]

EXIT_OK = 0
EXIT_FAILED = 1
EXIT_SETTINGS = 2

IMPORTS = "imports"  # directory of imports that wait, in the data directory


def run_api(settings: Settings, read: Callable[[], Settings]) -> int:
    """Serve the API until a signal stops it; returns the exit code. Needs the main thread, SIGHUP held back.

    ``read`` returns the settings anew for a reload, or raises ConfigError.
    """
    log = structlog.get_logger("api")
    if settings.api.listen is None:
        log.error("start_failed", reason='api.listen is empty: write an address and port, such as "127.0.0.1:9780"')
        return EXIT_SETTINGS
    return uvloop.run(_serve(settings, settings.api.listen, read))


async def _serve(settings: Settings, address: Peer, read: Callable[[], Settings]) -> int:
    log = structlog.get_logger("api")
    try:
        tls = api_tls(settings.api)
        listener = listen(*address)
    except (OSError, TlsError) as error:
        log.error("start_failed", reason=f"api.listen {format_peer(address)}: {error}")
        return EXIT_FAILED
    host, port = listener.getsockname()[:2]
    if tls is None and not host.startswith("127.") and host != "::1":
        log.warning("api_without_tls", listen=format_peer(Peer(host, port)))

    def renew() -> None:
        """Read the certificate again, which connections from now on see, and how to log. The rest of the settings waits
        for a restart."""
        try:
            changed = read()
        except ConfigError as error:
            log.warning("settings_not_read", problems=error.problems)
            return
        configure(changed.log.level, changed.log.format)
        try:
            if tls is not None:
                tls.load_cert_chain(str(settings.api.certificate), str(settings.api.key), password="")
        except OSError as error:  # ssl.SSLError is one
            log.warning("certificate_not_read", reason=str(error))
        else:
            log.info("settings_read")

    def stopping() -> None:
        notify("STOPPING=1")
        log.info("stopping")

    def ready() -> None:
        log.info("started", api=format_peer(Peer(host, port)), tls=tls is not None)
        notify("READY=1")

    try:
        async with binding_store(settings) as store:
            context = context_of(settings, store)
            try:
                started = await serve(create_app(context), listener, tls, ready=ready, stopping=stopping, renew=renew)
            finally:
                context.keys.close()
    except (OSError, StoreError, ValueError) as error:
        log.error("start_failed", reason=str(error))
        return EXIT_FAILED
    finally:
        listener.close()
    log.info("stopped")
    return EXIT_OK if started else EXIT_FAILED


def context_of(settings: Settings, store: Store) -> Context:
    """What the API gets to see."""
    api = settings.api
    return Context(
        settings=ApiSettings(
            requests_per_second=api.requests_per_second,
            body_bytes=api.body_bytes,
            import_bytes=api.import_mib << 20,
            signature_required=api.signature_required,
            replay_seconds=api.replay_seconds,
            webhook_seconds=api.webhook_seconds,
            webhook_parallel=api.webhook_parallel,
            webhook_private=api.webhook_private,
        ),
        store=store,
        keys=KeyReader(settings.routing.store, settings.seal()),
        records=settings.records.directory,
        imports=settings.node.data_dir / IMPORTS,
        ask=_asker(settings.ops.control_socket),
        clock=now_ms,
        monotonic=time.monotonic,
        started_ms=now_ms(),
        seal=settings.seal(),
    )


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def _asker(path: Path) -> Asker:
    async def asked(**request: object) -> dict[str, object]:
        try:
            return await asyncio.to_thread(partial(ask, path, **request))
        except NoSwitch as error:
            raise SwitchUnavailable(str(error)) from error

    return asked
