"""Commands of the netfilter packages, run to their end."""

import shutil
import subprocess

from nodedns.host.errors import ChangeError

LIMIT = 20
"""Seconds for one command: `-w 15` below waits for the xtables lock, everything else takes milliseconds."""


def there(command: str) -> bool:
    """Is it installed?"""
    return shutil.which(command) is not None


def output(*command: str, text: str = "") -> str:
    """What the command prints, with `text` as its input. ChangeError with its first complaint when it fails."""
    try:
        done = subprocess.run(command, input=text, capture_output=True, text=True, check=False, timeout=LIMIT)
    except OSError as error:
        package = "nftables" if command[0] == "nft" else "iptables"
        hint = f'install {package}, or set node.netfilter = "none"'
        why = "there is no" if isinstance(error, FileNotFoundError) else f"{error.strerror}:"
        raise ChangeError(f"node.netfilter: {why} command {command[0]}; {hint}") from error
    except subprocess.TimeoutExpired as error:
        raise ChangeError(f"node.netfilter: {' '.join(command)} did not end in {LIMIT} s") from error
    if done.returncode != 0:
        said = next(iter(done.stderr.strip().splitlines()), f"exit code {done.returncode}")
        hint = (
            "; CAP_NET_ADMIN is needed" if "not permitted" in done.stderr or "ermission denied" in done.stderr else ""
        )
        raise ChangeError(f"node.netfilter: {' '.join(command)}: {said}{hint}")
    return done.stdout
