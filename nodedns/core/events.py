"""What a person must know of: each event with its syslog priority and the fields its journal entry may have.

A field x is NODEDNS_X in the journal; NODEDNS_EVENT is the event's name, and a child's lines have NODEDNS_CHILD, its
name, too. docs/logs.md has this table. Priorities are syslog(3)'s; nothing at INFO or above names a client or what it
asked for.
"""

from typing import NamedTuple

ERROR, WARNING, NOTICE, INFO = 3, 4, 5, 6


class Kind(NamedTuple):
    """An event. Those that differ in one of `by` are consolidated apart (core/consolidate.py)."""

    priority: int
    meaning: str
    fields: tuple[str, ...] = ()
    by: tuple[str, ...] = ()


EVENTS = {
    "setup_error": Kind(ERROR, "link, rules, sockets or run directory cannot be had"),
    "metrics_error": Kind(ERROR, "the address of metrics cannot be had: nobody can scrape until a restart"),
    "serving": Kind(INFO, "every address answers: the start is over"),
    "host_change": Kind(INFO, "what was done to link, addresses or rules, a line each"),
    "buffer_small": Kind(WARNING, "the kernel gives a socket less room than wanted"),
    "socket_removed": Kind(NOTICE, "a socket in systemd's store is of another config"),
    "socket_refused": Kind(WARNING, "a socket in systemd's store cannot be looked at"),
    "file_remade": Kind(NOTICE, "a file of the run directory was of another version or config", ("file",)),
    "file_error": Kind(WARNING, "a file cannot be written", ("file",), ("file",)),
    "systemd_error": Kind(WARNING, "systemd did not take a message, or does not answer"),
    "worker_died": Kind(WARNING, "a child ended that was not told to; another one follows", ("worker", "pid", "death")),
    "worker_left": Kind(NOTICE, "a child that was told to leave ended otherwise", ("worker", "pid", "death")),
    "worker_hung": Kind(WARNING, "a child shows no life, and is killed", ("worker", "pid")),
    "worker_late": Kind(WARNING, "a child was not ready, or did not leave, in time, and is killed", ("worker", "pid")),
    "worker_serves": Kind(NOTICE, "a child serves again after a death", ("worker", "pid")),
    "worker_refused": Kind(ERROR, "a child said what it must not say, and is killed", ("worker", "pid")),
    "worker_defect": Kind(ERROR, "a child met an error that it does not know", ("worker", "pid")),
    "fork_error": Kind(ERROR, "the machine has no room for another process", ("worker",)),
    "file_changed": Kind(NOTICE, "a file that the config names has changed: a reload follows", ("file",)),
    "config_map_error": Kind(ERROR, "the kube-dns ConfigMap is wrong: its zones are not served"),
    "reload": Kind(NOTICE, "a reload has begun"),
    "reload_taken": Kind(NOTICE, "the new config is in force"),
    "reload_refused": Kind(ERROR, "the old config stays, and why, a line each"),
    "probe_failed": Kind(WARNING, "the monitor asked an address of ours and got no answer"),
    "probe_well": Kind(NOTICE, "all of them answer again"),
    "fallback_missing": Kind(WARNING, "there is no server that queries could go to while nodedns is down"),
    "fail_open": Kind(WARNING, "an address does not answer: queries go to the fallback after `fail_open_after`"),
    "fail_open_over": Kind(NOTICE, "all answer again: queries come to us"),
    "sign_refused": Kind(WARNING, "the kernel did not take the sign of life: the rules are looked after"),
    "repair": Kind(NOTICE, "link or rules were put right, with what was done, a line each"),
    "repair_failed": Kind(ERROR, "link or rules could not be changed"),
    "repair_contested": Kind(NOTICE, "another agent keeps undoing link or rules", ("times",)),
    "upstream_down": Kind(WARNING, "a server no longer answers", ("upstream", "workers"), ("upstream",)),
    "upstream_up": Kind(NOTICE, "it answers again", ("upstream",), ("upstream",)),
    "neighbour_left": Kind(NOTICE, "a node-cache that shared our ports has ended"),
    "neighbour_error": Kind(WARNING, "the kernel does not take a program that says which of the two gets a query"),
    "upstream_loop": Kind(WARNING, "a server leads back to us: it is not asked", ("upstream", "zone"), ("upstream",)),
    "upstream_tls": Kind(WARNING, "a server's certificate or handshake is refused", ("upstream",), ("upstream",)),
    "no_answer": Kind(WARNING, "no server of a zone answered: SERVFAIL", ("zone",), ("zone",)),
    "stale_serving": Kind(WARNING, "no server answers well in time: an expired answer is given", ("zone",), ("zone",)),
    "querylog_dropped": Kind(WARNING, "answers are missing in the query log", ("answers",)),
    "dnstap_up": Kind(NOTICE, "dnstap's receiver takes messages"),
    "dnstap_down": Kind(WARNING, "dnstap's receiver does not; it is tried again"),
    "dnstap_dropped": Kind(WARNING, "dnstap's receiver did not take messages in time", ("messages",)),
    "lines_lost": Kind(WARNING, "the journal did not take lines", ("lines",)),
}  # fmt: skip


def table() -> str:
    """EVENTS as a Markdown table."""
    words = {ERROR: "error", WARNING: "warning", NOTICE: "notice", INFO: "info"}
    lines = ["| `NODEDNS_EVENT` | priority | what it says | fields |", "|---|---|---|---|"]
    for name, kind in EVENTS.items():
        fields = ", ".join(f"`NODEDNS_{field.upper()}`" for field in kind.fields)
        lines.append(f"| `{name}` | {words[kind.priority]} | {kind.meaning} | {fields} |")
    return "\n".join(lines)
