"""FreeIPA's own Python API inside a server, as root: no password, no network, one process for many calls."""

from __future__ import annotations

from pathlib import Path

CONFIGURED = "/etc/ipa/default.conf"


def connect(module):
    """The API of the server that this host is. In check mode None if it is none yet; else the module fails."""
    if not Path(CONFIGURED).exists() and module.check_mode:
        return None
    try:
        from ipalib import api
        from ipaplatform.paths import paths

        api.bootstrap(in_server=True, context="server", confdir=paths.ETC_IPA, log=None)
        api.finalize()
        api.Backend.ldap2.connect()
    except Exception as error:  # whatever is not there, or does not run
        module.fail_json(msg=f"This host is no FreeIPA server that runs, see `ipactl status`: {error}")
    return api


def text(values):
    """What the API answers, which is a list of text or bytes or objects, as a sorted list of text."""
    if isinstance(values, (str, bytes)):
        values = [values]
    return sorted(value.decode() if isinstance(value, bytes) else str(value) for value in values or ())
