"""Builds the libFuzzer targets with clang and runs each: python -m tests.fuzz.run [--runs N] [--target NAME].

Exit code 0: no finding. Each target starts from its committed seeds in corpus/; inputs that reach something new are
kept under build/fuzz and used the next time. A finding is left in build/fuzz/<target>-crash-*, which the target takes
as its argument.
"""

import argparse
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
BUILD = ROOT / "build" / "fuzz"
TARGETS = ("query", "reply", "entry")
SOURCES = ("names", "wire", "entry", "render")
FLAGS = ["-std=c11", "-O1", "-g", "-D_GNU_SOURCE", "-fsanitize=fuzzer,address,undefined", "-fno-sanitize-recover=all"]
# A whole answer of 40 records is 700 octets: longer inputs cost speed and reach nothing else.
LONGEST = 2048
SLOWEST = 60  # seconds by the clock one input may take; the slowest we know takes a millisecond


def build(target: str) -> Path:
    """Compiles one target. CalledProcessError when clang refuses."""
    BUILD.mkdir(parents=True, exist_ok=True)
    sources = [HERE / f"fuzz_{target}.c", *(ROOT / "nodedns" / "native" / f"{name}.c" for name in SOURCES)]
    program = BUILD / f"fuzz_{target}"
    subprocess.run(["clang", *FLAGS, *map(str, sources), "-o", str(program)], check=True)
    return program


def run(target: str, runs: int) -> subprocess.CompletedProcess[str]:
    """Runs `runs` inputs through a target; its last lines say what was covered, or what was found."""
    program, found = build(target), BUILD / f"corpus-{target}"
    found.mkdir(exist_ok=True)
    limits = [f"-runs={runs}", f"-max_len={LONGEST}", f"-timeout={SLOWEST}", "-print_final_stats=1"]
    command = [str(program), *limits, f"-artifact_prefix={BUILD}/{target}-", str(found), str(HERE / "corpus" / target)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def main() -> int:
    parser = argparse.ArgumentParser(prog="tests.fuzz.run", description="Fuzz the parsers of foreign bytes.")
    parser.add_argument("--runs", type=int, default=1_000_000, help="inputs per target (default %(default)s)")
    parser.add_argument("--target", choices=TARGETS, action="append", help="only this one; may be repeated")
    chosen = parser.parse_args()
    failed = 0
    for target in chosen.target or TARGETS:
        done = run(target, chosen.runs)
        lines, well = done.stderr.splitlines(), done.returncode == 0
        shown = [line for line in lines if " cov: " in line or "slowest" in line][-2:] if well else lines[-40:]
        print(
            f"{target}: {'no finding' if well else 'FOUND'} in {chosen.runs} inputs", *shown, sep="\n    ", flush=True
        )
        failed |= done.returncode
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
