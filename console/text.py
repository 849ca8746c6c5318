"""Text of others, made fit for a terminal."""

from __future__ import annotations


def printable(text: object) -> str:
    r"""Text with everything that a terminal would obey, and not show, in its escaped form.

    File names, class names and messages of a server may hold any character: an escape sequence among them could clear
    the screen or hide what was printed.

    >>> printable("street\x1b[2J.jpg")
    'street\\x1b[2J.jpg'
    """
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode() for character in str(text)
    )
