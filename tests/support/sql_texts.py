"""Random SQL statements, each in many formattings, whose literals are known; and the proof that masking lets none of them through.

Usage: python -m tests.support.sql_texts [--texts N] [--seed S]
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from typing import Callable, NamedTuple

from sqmon.records.sql_text import masked, statement_hash, without_secrets

MARKS = "JZÄÖÜß€漢☃5678"
"""Characters that stand in literals and comments alone: names, key words and signs have none of them, in either case."""

FORMATTINGS = 20
_TRAPS = ("'", '"', "$", "$$", "\\", "--", "/*", "*/", ";", " ", "\n", "select", "(", ",", "?", "\u200b", "\0", "\r\n", "\x85")
_KEYWORDS = ("select", "from", "where", "and", "or", "like", "between", "case when", "then", "insert into", "update", "set", "limit", "as")
_NAMES = ("t", "t1", "c_2", "orders", "schema_a.t4", "db.public.orders", "$1", "a$b", '"Some id"', '"it\'s"', '"a""b"', '"--"', '"$$"')
_SIGNS = (",", "(", ")", "=", "<", ">", "+", "*", "||", "::", "[", "]", ".", "%")
_BLANKS = (" ", "\n", "\t", "  ", "\r\n", " \n\t ")
_SECRETS = ("password", "with password =", "aws_secret=", '"aws_id" =', "secret_key :", "TOKEN (")


class Text(NamedTuple):
    """One formatting of a statement."""

    text: str
    literals: list[str]
    """The contents of its literals and comments."""


Piece = tuple[str, str]
"""A kind (word, sign, literal or list), and the text of a word or a sign."""


def pieces(rng: random.Random) -> list[Piece]:
    """Return a statement as a list of pieces; literals and lists have no content yet."""
    found: list[Piece] = []
    for _ in range(rng.randint(2, 12)):
        kind = rng.choices(("word", "name", "sign", "literal", "list"), (4, 4, 4, 5, 1))[0]
        if kind == "sign":
            found.append(("sign", rng.choice(_SIGNS)))
        elif kind == "list":
            found += [("word", "in"), ("list", "")]
        elif kind == "literal":
            # Two literals that touch are one literal, or none.
            found += [("literal", ""), ("sign", ",")]
        else:
            found.append(("word", rng.choice(_KEYWORDS if kind == "word" else _NAMES)))
    return found


def formatted(statement: list[Piece], rng: random.Random) -> Text:
    """Return the statement with other literals, comments, white space and case."""
    text, literals = "", list[str]()
    before = ""
    for kind, word in statement:
        if kind == "literal":
            now = _literal(rng, literals)
        elif kind == "list":
            rows = ["(" + ",".join(_literal(rng, literals) for _ in range(rng.randint(1, 3))) + ")" for _ in range(rng.randint(1, 2))]
            now = rng.choice((",", " ,\n")).join(rows)
        else:
            now = word if word.startswith('"') else "".join(map(rng.choice((str.upper, str.lower, _any_case(rng))), word))
        text += _between(before, now, rng, literals) + now
        before = now
    return Text(text + rng.choice(("", ";", " ; ", ";;\n")), literals)


def cut(text: str, rng: random.Random) -> str:
    """Return the beginning of a text, as a server sends it that cuts long statements."""
    return text[: rng.randint(1, len(text))]


def _any_case(rng: random.Random) -> Callable[[str], str]:
    return lambda character: rng.choice((character.lower(), character.upper()))


def _content(rng: random.Random, literals: list[str]) -> str:
    content = "".join(rng.choice(_TRAPS) if rng.random() < 0.2 else rng.choice(MARKS) for _ in range(rng.randint(4, 20)))
    literals.append(content)
    return content


def _literal(rng: random.Random, literals: list[str]) -> str:
    kind = rng.randrange(8)
    if kind >= 6:
        number = "".join(rng.choices("5678", k=rng.randint(4, 12)))
        literals.append(number)
        return rng.choice((number, f"{number}.{number}", f".{number}", f"{number}e+{number}", f"{number}E-{number}", f"0x{number}"))
    content = _content(rng, literals)
    if kind == 0:
        quote = rng.choice(("$$", "$q$", "$_1$"))
        return quote + content.replace("$", "") + quote
    if kind == 1:
        escaped = content.replace("\\", "\\\\").replace("'", rng.choice(("''", "\\'")))
        return f"{rng.choice('eE')}'{escaped}'"
    return rng.choice(("", "", "", "N", "x", "b")) + "'" + content.replace("'", "''") + "'"


def _between(before: str, now: str, rng: random.Random, literals: list[str]) -> str:
    apart = _comment(rng, literals) if rng.random() < 0.1 else rng.choice(_BLANKS)
    if not before or (_is_sign(before[-1]) and _is_sign(now[0])):
        return rng.choice(("", apart))
    if _is_sign(before[-1]) or _is_sign(now[0]) or (now[0] in "'\"" and before[-1].lower() not in "ebnx'\"" and rng.random() < 0.3):
        return rng.choice(("", apart)) if not (before[-1] == "." or now[0] == ".") else apart
    return apart


def _is_sign(character: str) -> bool:
    return character in ",()=<>+*|:[].%"


def _comment(rng: random.Random, literals: list[str]) -> str:
    content = _content(rng, literals)
    if rng.random() < 0.5:
        return f" /*{content.replace('*/', '').replace('*', '')}*/ "
    return " --{}\n".format(content.replace("\n", " "))


def faults(statement: list[Piece], rng: random.Random, formattings: int = FORMATTINGS) -> list[str]:
    """Return what is wrong with how the formattings of a statement, and their beginnings, are masked; nothing when all is well."""
    found, hashes = [], set[str]()
    for _ in range(formattings):
        each = formatted(statement, rng)
        hashes.add(statement_hash(each.text))
        for text in (each.text, cut(each.text, rng)):
            result = masked(text)
            if not set(MARKS).isdisjoint(result.upper()) or not set(MARKS).isdisjoint(result):
                found.append(f"a literal survives: {text!r} became {result!r}")
            if masked(result) != result:
                found.append(f"masking twice is not masking once: {text!r} became {result!r}")
            if statement_hash(result) != statement_hash(text):
                found.append(f"masking changes the hash: {text!r} became {result!r}")
        secret = f"{rng.choice(_SECRETS)} {rng.choice(('', 'E'))}'{''.join(rng.choices(MARKS, k=8))}"
        if not set(MARKS).isdisjoint(without_secrets(rng.choice((secret, f"{secret}' valid until now")))):
            found.append(f"a secret survives: {secret!r}")
    if len(hashes) > 1:
        found.append(f"{len(hashes)} hashes of one statement: {statement}")
    return found


def main() -> int:
    """Run as many texts as are asked for and print the figures; exit code 1 when something is wrong, with its seed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--texts", type=int, default=1_000_000, help="how many (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="of the first statement; the others follow (default: %(default)s)")
    options = parser.parse_args()
    wrong = 0
    began = time.monotonic()
    statements = max(1, options.texts // FORMATTINGS)
    for seed in range(options.seed, options.seed + statements):
        rng = random.Random(seed)
        for fault in faults(pieces(rng), rng):
            wrong += 1
            sys.stdout.write(f"seed {seed}: {fault}\n")
    sys.stdout.write(
        f"SQL    {statements * FORMATTINGS:,} texts, {statements * FORMATTINGS:,} beginnings of them and as many secrets: {wrong} faults"
        f"  in {time.monotonic() - began:.0f} s; {_speed()}\n"
    )
    return 1 if wrong else 0


def _speed() -> str:
    """Return how long masking and hashing take for each character of statements of the usual length."""
    rng = random.Random(1)
    texts = [" ".join(formatted(pieces(rng), rng).text for _ in range(10)) for _ in range(500)]
    characters = sum(map(len, texts))
    figures = []
    for function in (masked, statement_hash, without_secrets):
        began = time.process_time()
        for text in texts:
            function(text)
        figures.append(f"{function.__name__} {(time.process_time() - began) * 1e9 / characters:.0f} ns")
    return "a character takes " + ", ".join(figures)


if __name__ == "__main__":
    sys.exit(main())
