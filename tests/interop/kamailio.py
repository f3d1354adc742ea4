"""Kamailio as a carrier's proxy: stays in the path with Record-Route, between a telephone and the switch."""

import subprocess
from pathlib import Path

from tests.interop.far_end import Address, Identity, Program

__all__ = ["Kamailio"]

CONFIG = """\
debug=1
log_stderror=yes
fork=yes
children=2
tcp_children=2
auto_aliases=no
tcp_source_ipv4={host}
dns=no
rev_dns=no
{tls}
listen={transport}:{host}:{port}

loadmodule "tm.so"
loadmodule "sl.so"
loadmodule "rr.so"
loadmodule "pv.so"
loadmodule "maxfwd.so"
loadmodule "siputils.so"
loadmodule "textops.so"
loadmodule "xlog.so"
{tls_module}
modparam("rr", "enable_full_lr", 1)
modparam("xlog", "buf_size", 65535)

event_route[core:worker-one-init] {{
    xlog("L_NOTICE", "at your service\\n");
}}

request_route {{
    xlog("L_NOTICE", "received\\n$mb\\n");
    if (!mf_process_maxfwd_header("70")) {{
        sl_send_reply("483", "Too Many Hops");
        exit;
    }}
    if (is_method("CANCEL")) {{
        if (t_check_trans()) t_relay();
        exit;
    }}
    if (has_totag()) {{
        if (loose_route()) {{
            t_relay();
        }} else if (is_method("ACK")) {{
            if (t_check_trans()) t_relay();
        }} else {{
            sl_send_reply("404", "Not Here");
        }}
        exit;
    }}
    if (is_method("OPTIONS")) {{
        sl_send_reply("200", "Alive");
        exit;
    }}
    if (!is_method("INVITE")) {{
        if (!is_method("ACK")) sl_send_reply("405", "Method Not Allowed");
        exit;
    }}
    t_check_trans();
    remove_hf("Route");
    record_route();
    if ($si == "{switch_host}") {{
        $du = "{phone}";
    }} else {{
        remove_hf("P-Asserted-Identity");
        append_hf("P-Asserted-Identity: <sip:$fU@{host}>\\r\\n");
        $rd = "{switch_host}";
        $du = "{switch}";
    }}
    t_relay();
}}

reply_route {{
    xlog("L_NOTICE", "received\\n$mb\\n");
}}
"""
TLS_CONFIG = """\
[server:default]
method = TLSv1.2+
verify_certificate = no
require_certificate = no
private_key = {key}
certificate = {certificate}
ca_list = {authority}

[client:default]
method = TLSv1.2+
verify_certificate = yes
private_key = {key}
certificate = {certificate}
ca_list = {authority}
"""


class Kamailio:
    """A proxy at an address. What it received is logged, whichever transport it came by."""

    kind = "Kamailio"

    def __init__(self, directory: Path, address: Address, switch: Address, phone: Address, identity: Identity) -> None:
        self.address = address
        home = directory / f"kamailio-{address.host}"
        home.mkdir()
        secure = address.transport == "tls"
        if secure:
            (home / "tls.cfg").write_text(TLS_CONFIG.format(**identity._asdict()))
        config = home / "kamailio.cfg"
        config.write_text(
            CONFIG.format(
                host=address.host,
                port=address.port,
                transport=address.transport,
                switch_host=switch.host,
                switch=switch.uri(),
                phone=phone.uri(),
                tls="enable_tls=yes" if secure else "",
                tls_module=f'loadmodule "tls.so"\nmodparam("tls", "config", "{home}/tls.cfg")' if secure else "",
            )
        )
        command = ["kamailio", "-DD", "-E", "-f", str(config), "-Y", str(home), "-m", "16", "-M", "4"]
        self._program = Program(command, home)
        self._program.await_line("at your service")
        said = subprocess.run(["kamailio", "-v"], capture_output=True, text=True, check=True).stdout
        self.version = said.split()[2]

    def messages(self) -> str:
        """Every SIP message that it has received."""
        return "\n".join(list(self._program.lines))

    def close(self) -> None:
        self._program.stop()
