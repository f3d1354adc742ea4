"""What has to be right about listeners together: names, addresses, files, and that every trunk has one to leave by."""

from collections.abc import Iterator
from ipaddress import ip_address

from b2bua.app.config_errors import example_of, format_value
from b2bua.app.config_models import ListenerSettings, Settings, TrunkSettings
from b2bua.app.tls import TlsError, client_context, server_context
from routing.trunks import Peer, format_peer

__all__ = ["check_listeners", "check_trunks"]

Finding = tuple[str, str, object, str]  # section as shown, key, value, problem and fix


def check_listeners(settings: Settings) -> Iterator[Finding]:
    """Every mistake, in the order of the file. Reads the certificates."""
    names: set[str] = set()
    bound = {("udp", settings.sip.listen): "sip.listen"}
    for listener in settings.listener:
        shown = f"listener[{listener.name}]"
        if listener.name in names:
            yield shown, "name", listener.name, "is given to two listeners; write another name for one of them"
        names.add(listener.name)
        kind = "udp" if listener.transport == "udp" else "tcp"
        other = bound.setdefault((kind, listener.listen), shown)
        if other != shown and listener.listen.port:
            yield shown, "listen", format_peer(listener.listen), f"is taken by {other}; write another address or port"
        yield from _check_advertised(shown, listener)
        yield from _check_files(shown, listener)
    yield from check_trunks(settings)


def check_trunks(settings: Settings) -> Iterator[Finding]:
    """Every trunk that these listeners cannot serve, and the media server likewise."""
    for trunk in settings.trunk:
        yield from _check_trunk(settings, trunk)
    prompts = settings.prompts
    if prompts.server is not None and (prompts.transport, _family(prompts.server)) not in _open_ways(settings):
        family = _family(prompts.server)
        fix = f'add a [[listener]] with transport = "{prompts.transport}" and an {family} address'
        yield "prompts", "transport", prompts.transport, f"has no listener to reach the {family} server by; {fix}"


def _check_advertised(shown: str, listener: ListenerSettings) -> Iterator[Finding]:
    advertised = listener.advertise
    if advertised is None:
        if ip_address(listener.listen.host).is_unspecified:
            fix = "write the address and port by which the carriers reach this listener"
            yield shown, "advertise", "", f"cannot be taken from the wildcard address in listen; {fix}"
    elif _family(advertised) != _family(listener.listen):
        fix = f"write an {_family(listener.listen)} address"
        yield shown, "advertise", format_peer(advertised), f"is of another address family than listen; {fix}"


def _check_files(shown: str, listener: ListenerSettings) -> Iterator[Finding]:
    if listener.transport != "tls":
        for key in ("certificate", "key", "ca"):
            file = getattr(listener, key)
            if file is not None:
                yield shown, key, str(file), 'is for transport tls only; write "" or transport = "tls"'
        return
    missing = [key for key in ("certificate", "key") if getattr(listener, key) is None]
    for key in missing:
        example = format_value(example_of(ListenerSettings.model_fields[key]))
        yield shown, key, "", f"is missing; write the path of a PEM file, such as {key} = {example}"
    if missing:
        return
    try:
        server_context(listener)
        client_context(listener)
    except TlsError as error:
        yield shown, error.key, str(getattr(listener, error.key)), error.text


def _check_trunk(settings: Settings, trunk: TrunkSettings) -> Iterator[Finding]:
    shown = f"trunk[{trunk.name}]"
    open_ways = _open_ways(settings)
    families = sorted({_family(peer) for peer in trunk.peers if _is_address(peer)})
    if not families and trunk.transport in ("tcp", "tls") and trunk.transport not in {way for way, _ in open_ways}:
        fix = f'add a [[listener]] with transport = "{trunk.transport}"'
        yield shown, "transport", trunk.transport, f"has no listener to use; {fix}"
    for family in families:
        if trunk.transport in ("udp", "tcp", "tls") and (trunk.transport, family) not in open_ways:
            fix = f'add a [[listener]] with transport = "{trunk.transport}" and an {family} address'
            yield shown, "transport", trunk.transport, f"has no listener to reach the {family} peers by; {fix}"
        if trunk.large_over_tcp and trunk.transport == "udp" and ("tcp", family) not in open_ways:
            fix = f'add a [[listener]] with transport = "tcp" and an {family} address'
            yield shown, "large_over_tcp", True, f"has no listener to use; {fix}"
    if trunk.large_over_tcp and trunk.transport != "udp":
        yield shown, "large_over_tcp", True, f"is for transport udp; take it out, {trunk.transport} has no such limit"
    if trunk.certificate_names and trunk.transport != "tls":
        names = list(trunk.certificate_names)
        yield shown, "certificate_names", names, 'is for transport tls; write transport = "tls" or take it out'


def _open_ways(settings: Settings) -> set[tuple[str, str]]:
    """Transports and address families that messages can leave by."""
    ways = {("udp", _family(settings.sip.listen))}
    return ways | {(listener.transport, _family(listener.listen)) for listener in settings.listener}


def _is_address(peer: Peer) -> bool:
    try:
        ip_address(peer.host)
    except ValueError:
        return False
    return True


def _family(peer: Peer) -> str:
    return "IPv6" if ":" in peer.host else "IPv4"
