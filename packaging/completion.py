"""Completions of nodedns(1) for bash, zsh and fish, from the options that the program itself declares.

python packaging/completion.py FOLDER     writes FOLDER/nodedns (bash), FOLDER/_nodedns (zsh), FOLDER/nodedns.fish
"""

import re
import sys
from collections.abc import Iterator
from pathlib import Path

from options import Option, Spoken, verbs

HEAD = "# {} completion for nodedns(1)\n"


def quoted(text: str) -> str:
    """For a shell, in single quotes."""
    return "'" + text.replace("'", "'\\''") + "'"


def bash(spoken: list[Spoken]) -> str:
    """One case a verb; a file where one is wanted."""
    words = " ".join(verb.name for verb in spoken)
    paths = " | ".join(sorted({option.name for verb in spoken for option in verb.options if option.is_path}))
    text = HEAD.format("bash")
    text += "_nodedns() {\n"
    text += '    local words="" files="" word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD - 1]}\n'
    text += '    case "$COMP_CWORD:${COMP_WORDS[1]}" in\n'
    text += f'        1:*) words="{words} --help --version" ;;\n'
    for verb in spoken:
        offered = " ".join([*verb.words, *(option.name for option in verb.options)])
        text += f'        *:{verb.name}) words="{offered}"{" files=yes" if verb.path else ""} ;;\n'
    text += "    esac\n"
    text += f'    case "$before" in {paths}) words="" files=yes ;; esac\n'
    text += '    mapfile -t COMPREPLY < <(compgen -W "$words" -- "$word"; [ -z "$files" ] || compgen -f -- "$word")\n'
    return text + "}\ncomplete -o filenames -F _nodedns nodedns\n"


def zsh(spoken: list[Spoken]) -> str:
    """_arguments' own language: 'OPTION[HELP]:VALUE:ACTION'."""
    text = "#compdef nodedns\n" + HEAD.format("zsh")
    text += "_nodedns() {\n    local -a verbs=(\n"
    text += "".join(f"        {quoted(f'{verb.name}:{verb.help}')}\n" for verb in spoken)
    text += "    )\n    if (( CURRENT == 2 )); then\n        _describe verb verbs\n        return\n    fi\n"
    text += "    shift words\n    (( CURRENT-- ))\n    case $words[1] in\n"
    for verb in spoken:
        specs = [quoted(_zsh_option(option)) for option in verb.options]
        specs += [quoted(f"1:what:({' '.join(verb.words)})")] if verb.words else []
        specs += ["'1:file:_files'"] if verb.path else []
        text += f"        {verb.name}) _arguments {' '.join(specs)} ;;\n"
    return text + '    esac\n}\n_nodedns "$@"\n'


def _zsh_option(option: Option) -> str:
    explained = re.sub(r"([][:\\])", r"\\\1", option.help)
    spec = f"{option.name}[{explained}]"
    return spec + (f":{option.value.replace(':', '-')}:{'_files' if option.is_path else ''}" if option.value else "")


def fish(spoken: list[Spoken]) -> str:
    """One line a verb, one an option."""
    return HEAD.format("fish") + "\n".join(("complete -c nodedns -f", *_fish(spoken), ""))


def _fish(spoken: list[Spoken]) -> Iterator[str]:
    for verb in spoken:
        yield f"complete -c nodedns -n __fish_use_subcommand -a {verb.name} -d {quoted(verb.help)}"
    for verb in spoken:
        of = f"complete -c nodedns -n '__fish_seen_subcommand_from {verb.name}'"
        if verb.words or verb.path:
            yield f"{of} {'-F' if verb.path else '-a ' + quoted(' '.join(verb.words))}"
        for option in verb.options:
            value = " -r -F" if option.is_path else " -x" if option.value else ""
            yield f"{of} -l {option.name.removeprefix('--')}{value} -d {quoted(option.help)}"


def main(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    spoken = list(verbs())
    for name, make in {"nodedns": bash, "_nodedns": zsh, "nodedns.fish": fish}.items():
        (folder / name).write_text(make(spoken), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
