"""The grammar of selections: text to a syntax tree, or one line that says what is wrong with the text and where."""

from __future__ import annotations

import difflib
import functools
from collections.abc import Iterable
from typing import TYPE_CHECKING

from .errors import SparseError
from .partials import NOTE_NAME
from .quantities import DERIVED, QUANTITIES

if TYPE_CHECKING:
    from lark import Lark, Token, Tree

MOST_CHARACTERS = 2000
MOST_SHOWN = 20  # characters of what was found that a message repeats

KEYWORDS = {
    "_NOT": "not",
    "_AND": "and",
    "_OR": "or",
    "_IN": "in",
    "_BY": "by",
    "_OF": "of",
    "ALL": "all",
    "NONE": "none",
    "AIR": "air",
    "TOP": "top",
    "BOTTOM": "bottom",
}
_ENDS = "(?![a-z0-9_])"  # where a word does
_WORD = f"/(?!({'|'.join(KEYWORDS.values())}){_ENDS})[a-z_][a-z0-9_]*/i"

GRAMMAR = rf"""
?start: either
?either: both (_OR both)*
?both: negated (_AND negated)*
?negated: _NOT negated -> negation
    | term
?term: "(" either ")" -> group
    | (ALL | NONE | AIR) -> word
    | (TOP | BOTTOM) NUMBER [PERCENT] _BY NAME [_OF "(" either ")"] -> ranking
    | NAME OP value -> comparison
    | value OP NAME [OP value] -> mirrored
    | NAME _IN (span | set) -> membership
    | NAME _NOT _IN (span | set) -> exclusion
value: NUMBER [UNIT | PERCENT] | NOTE
span: value _RANGE value
set: "{{" (value | span) ("," (value | span))* "}}"

NOTE.2: /{NOTE_NAME}{_ENDS}/i
NAME: {_WORD}
UNIT: {_WORD}
PERCENT: "%"
NUMBER: /[+-]?([0-9]+(\.[0-9]+)?|\.[0-9]+)(e[+-]?[0-9]+)?/i
OP: "<=" | ">=" | "==" | "!=" | "<" | ">" | "="
_RANGE: ".."
%ignore /[ \t\r\n]+/
""" + "".join(f"{terminal}.3: /{word}{_ENDS}/i\n" for terminal, word in KEYWORDS.items())

# What a message calls the terminals, in the order in which it lists them.
WORDS = {
    "NAME": "a quantity",
    "NUMBER": "a number",
    "NOTE": "the name of a note",
    "UNIT": "a unit",
    "PERCENT": "%",
    "OP": "a comparison (< <= > >= = !=)",
    "_RANGE": "..",
    **KEYWORDS,
    "LBRACE": "{",
    "COMMA": ",",
    "RBRACE": "}",
    "LPAR": "(",
    "RPAR": ")",
    "$END": "the end",
}


class SelectionError(ValueError):
    """What is wrong with an expression, in one line that begins with the column, counted from 1."""

    def __init__(self, position: int, text: str) -> None:
        super().__init__(str(SparseError(f"column {position + 1}", text)))


def tree_of(expression: str) -> Tree[Token]:
    """The syntax tree of an expression, in which every quantity is known.

    Raises:
        SelectionError: the text is too long or no expression, or names an unknown quantity.
    """
    from lark import UnexpectedCharacters, UnexpectedToken

    if len(expression) > MOST_CHARACTERS:
        raise SelectionError(MOST_CHARACTERS, f"the expression is longer than {MOST_CHARACTERS} characters")
    parser = _parser().parse_interactive(expression)
    tokens: list[Token] = []
    try:
        for token in parser.iter_parse():
            if token.type == "NAME":
                check_quantity(token)
            tokens.append(token)
        tree: Tree[Token] = parser.feed_eof()  # type: ignore[no-untyped-call]
        return tree
    except UnexpectedToken as error:
        tokens = [token for token in tokens if token is not error.token]
        at_end = error.token.type == "$END"
        position, found = (len(expression), "") if at_end else (error.token.start_pos or 0, str(error.token))
    except UnexpectedCharacters as error:
        position = error.pos_in_stream or 0
        found = expression[position]
    accepted = _accepted_after(tokens)
    possible = [word for terminal, word in WORDS.items() if terminal in accepted]
    near = nearest(found, (word for word in possible if word.isalpha()))
    what = f"found {shown(found)}" if found else "the expression ends here"
    raise SelectionError(position, f"{what}; possible: {', '.join(possible)}{near}")


def check_quantity(name: Token) -> None:
    """Raise SelectionError for a name that is no quantity."""
    if name.lower() not in QUANTITIES:
        near = nearest(name, [*QUANTITIES, "all", "none", "air", "not", "top", "bottom"])
        known = ", ".join(quantity.name for quantity in DERIVED)
        raise SelectionError(
            name.start_pos or 0, f"found {shown(name)}, which is no quantity; known are {known} and all columns{near}"
        )


def nearest(found: str, known: Iterable[str]) -> str:
    """The end of a message that names what was perhaps meant; empty where nothing is near."""
    spelled = {name.lower(): name for name in known}
    near = difflib.get_close_matches(found.lower(), list(spelled), n=1, cutoff=0.5)
    return f"; the nearest is {spelled[near[0]]}" if near else ""


def shown(found: str) -> str:
    """What was found, in quotes and not too long."""
    return f"'{found[:MOST_SHOWN]}{'...' * (len(found) > MOST_SHOWN)}'"


def _accepted_after(tokens: Iterable[Token]) -> set[str]:
    """The terminals that may follow; a parser that has failed has lost some of them."""
    parser = _parser().parse_interactive("")
    for token in tokens:
        parser.feed_token(token)
    return set(parser.accepts())  # type: ignore[no-untyped-call]


@functools.cache
def _parser() -> Lark:
    from lark import Lark

    return Lark(GRAMMAR, parser="lalr", lexer="contextual")
