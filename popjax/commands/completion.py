"""Tab completion of `popjax` in bash and zsh: commands, their options, and files."""

import dataclasses
import importlib
from collections.abc import Iterable
from typing import Any

SCRIPT = """# popjax --completion >> ~/.bashrc, or ~/.zshrc
[ -n "$ZSH_VERSION" ] && autoload -U bashcompinit && bashcompinit
_popjax() {{
    local word="${{COMP_WORDS[COMP_CWORD]}}"
    case "$COMP_CWORD ${{COMP_WORDS[1]}}" in
        1\\ *) COMPREPLY=($(compgen -W "{commands}" -- "$word")); return ;;
{cases}
        *) COMPREPLY=() ;;
    esac
    [[ "$word" == -* ]] || COMPREPLY=($(compgen -f -- "$word"))
}}
complete -o filenames -F _popjax popjax"""


def completion(commands: Iterable[str]) -> str:
    """The shell script that completes these commands and their options."""
    names = list(commands)
    case = '        *\\ {name}) COMPREPLY=($(compgen -W "{options}" -- "$word")) ;;'
    cases = [case.format(name=name, options=" ".join(options(name))) for name in names]
    return SCRIPT.format(commands=" ".join([*names, "--help", "--version", "--completion"]), cases="\n".join(cases))


def options(command: str) -> list[str]:
    """The options of a command, without its positional arguments."""
    arguments: Any = getattr(importlib.import_module(f"popjax.commands.{command}"), "Arguments", None)
    fields = dataclasses.fields(arguments) if arguments is not None else ()
    named = [field.name for field in fields if "Positional" not in str(field.type)]
    return ["--help", *(f"--{name.strip('_').replace('_', '-')}" for name in named)]
