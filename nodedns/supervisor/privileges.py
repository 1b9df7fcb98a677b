"""What a child gives up before it reads a single octet from the network."""

import os
import resource

from nodedns.supervisor.errors import HostError

USER = "nodedns"
"""Made by systemd/sysusers.d/nodedns.conf. Without it (`make run`, a container) a child stays who it is."""


def drop(user: str = USER) -> None:
    """As root: becomes `user`, without groups and, so, without capabilities (capabilities(7), effect of user ID
    changes). No core files: they would hold what clients asked. HostError when it does not work: a child that should
    have no privilege must not run with it.
    """
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if os.geteuid() != 0:
        return
    import pwd

    try:
        found = pwd.getpwnam(user)
    except KeyError:
        return
    try:
        os.setgroups([])
        os.setresgid(found.pw_gid, found.pw_gid, found.pw_gid)
        os.setresuid(found.pw_uid, found.pw_uid, found.pw_uid)
    except OSError as error:
        raise HostError(
            f"user {user}: {error.strerror}; CapabilityBoundingSet= needs CAP_SETUID, CAP_SETGID"
        ) from error
