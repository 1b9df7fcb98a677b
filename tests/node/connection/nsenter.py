"""Ansible's way into a booted node: nsenter(1) into the namespaces of its init. Needs no sshd and no network."""

import shutil
import subprocess
from pathlib import Path
from typing import Any

from ansible.plugins.connection import ConnectionBase

DOCUMENTATION = """
    name: nsenter
    short_description: run in the namespaces of a process
    description: Everything is done as root, in all namespaces of that process.
    author: The nodedns developers
    options:
      pid:
        description: whose
        type: int
        required: true
        vars:
          - name: ansible_nsenter_pid
        env:
          - name: NSENTER_PID
"""


class Connection(ConnectionBase):
    """One node."""

    transport = "nsenter"
    has_pipelining = True

    def _connect(self) -> "Connection":
        self._connected = True
        return self

    def exec_command(self, cmd: str, in_data: bytes | None = None, sudoable: bool = True) -> tuple[int, bytes, bytes]:
        inside = ["nsenter", "-t", str(self.get_option("pid")), "-a", "/bin/sh", "-c", cmd]
        done = subprocess.run(inside, input=in_data or b"", capture_output=True, check=False)
        return done.returncode, done.stdout, done.stderr

    def put_file(self, in_path: str, out_path: str) -> None:
        shutil.copyfile(in_path, self._inside(out_path))

    def fetch_file(self, in_path: str, out_path: str) -> None:
        shutil.copyfile(self._inside(in_path), out_path)

    def close(self) -> None:
        self._connected = False

    def _inside(self, path: str) -> Path:
        return Path(f"/proc/{self.get_option('pid')}/root") / path.lstrip("/")

    def reset(self, *_: Any) -> None:
        """Nothing is held."""
