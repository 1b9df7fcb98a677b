"""Foreign octets as text: a name may be anybody's, and what reads it a terminal or a log."""


def printable(text: str | bytes) -> str:
    r"""Printable ASCII as it is, every other byte as \DDD (RFC 1035 section 5.1)."""
    data = text.encode(errors="surrogateescape") if isinstance(text, str) else text
    return "".join(chr(byte) if 0x20 <= byte < 0x7F else f"\\{byte:03d}" for byte in data)


def spelled(labels: tuple[bytes, ...]) -> str:
    """A name as text, with its final dot; a dot or backslash inside a label is escaped, space as DDD."""
    escaped = (label.replace(b"\\", b"\\\\").replace(b".", b"\\.") for label in labels)
    return ".".join(printable(label).replace(" ", "\\032") for label in escaped) + "."


def spelled_wire(name: bytes) -> str:
    """The same of a name in wire form; octets that are none are shown as they are."""
    labels, at = [], 0
    while at < len(name) and name[at]:
        labels.append(name[at + 1 : at + 1 + name[at]])
        at += 1 + name[at]
    return spelled(tuple(labels)) if at == len(name) - 1 else printable(name)
