"""Makes files wrong in the ways that files are wrong: keys dropped, values of other types, cut and flipped bytes."""

import copy
import json
import random
import re

VALUES = [
    *(
        None,
        True,
        False,
        "",
        "x",
        "0",
        "1",
        "false",
        "12",
        "nan",
        "maybe",
        "a\nb",
        "é" * 40,
        "\ud800",
        "a\0b",
        "../../x.jpg",
    ),
    *("/etc/hostname", "x\\y.jpg", "C:\\a.jpg", ".", "..", "a" * 5000, "{}", "%s %d", "<b>", "=1+1", "$x^2$"),
    *(
        0,
        -1,
        1,
        2,
        1.5,
        128.0,
        1e-320,
        1e308,
        -1e308,
        2**31,
        2**53 + 1,
        2**63,
        2**64,
        10**30,
        float("nan"),
        float("inf"),
    ),
    *([], {}, [1, 2, 3, 4], [1, 2, 3], ["1", "2", "3", "4"], [True] * 4, [[1, 2], [3, 4]], {"a": 1}, [None] * 4),
]
WORDS = [
    *(
        "",
        "x",
        "nan",
        "inf",
        "-inf",
        "1e400",
        "1_000",
        "0x10",
        "-1",
        "0",
        "1",
        "2",
        "0.5",
        "99999999999999999999",
        "1e-320",
    ),
    *(
        "é",
        "\u2028",
        "\x00",
        "\ufeff",
        "'",
        '"',
        "<",
        "&amp;",
        "[1]",
        "{a: 1}",
        "true",
        "no",
        "~",
        "../..",
        "/etc/hostname",
    ),
    *("Unspecified", "!!python/object:os.system", "&a", "*a", "- -", ":", "\t", "\r"),
]


def mutated_tree(value: object, rng: random.Random) -> object:
    """JSON content with one to three changes anywhere in it."""
    root = {"root": copy.deepcopy(value)}
    for _ in range(rng.randint(1, 3)):
        parent, key = rng.choice(_places(root))
        change = rng.random()
        if change < 0.2 and key != "root":
            del parent[key]
        elif change < 0.3:
            other, place = rng.choice(_places(root))
            parent[key] = copy.deepcopy(other[place])
        elif change < 0.4 and isinstance(parent[key], list) and parent[key]:
            parent[key].append(copy.deepcopy(rng.choice(parent[key])))
        elif change < 0.45 and isinstance(parent[key], (int, float)):
            parent[key] = str(parent[key])
        else:
            parent[key] = copy.deepcopy(rng.choice(VALUES))
    return root["root"]


def _places(node: object) -> list[tuple]:
    """Every (parent, key) below a node."""
    items = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    return [place for key, child in items for place in [(node, key), *_places(child)]]


def mutated_json(value: object, rng: random.Random) -> bytes:
    """A JSON file of mutated content, sometimes broken in its bytes as well."""
    content = json.dumps(mutated_tree(value, rng), indent=rng.choice([None, None, 1])).encode()
    return mutated_bytes(content, rng) if rng.random() < 0.3 else content


def mutated_text(text: str, rng: random.Random) -> bytes:
    """A text file with some of its words replaced, its lines or elements dropped or doubled, or its bytes broken."""
    for _ in range(rng.randint(1, 3)):
        words = list(re.finditer(r"[\w.+-]+", text))
        lines = text.split("\n")
        change = rng.random()
        if change < 0.5 and words:
            found = rng.choice(words)
            text = text[: found.start()] + rng.choice(WORDS) + text[found.end() :]
        elif change < 0.65:
            del lines[rng.randrange(len(lines))]
            text = "\n".join(lines)
        elif change < 0.8:
            lines.insert(rng.randrange(len(lines) + 1), rng.choice(lines))
            text = "\n".join(lines)
        elif words:
            place = rng.choice(words).start()
            text = text[:place] + rng.choice(WORDS) + rng.choice(["", " ", ","]) + text[place:]
    content = text.encode("utf-8", "surrogatepass")
    return mutated_bytes(content, rng) if rng.random() < 0.3 else content


def mutated_bytes(content: bytes, rng: random.Random) -> bytes:
    """Bytes cut off, flipped, inserted or nested."""
    place, change = rng.randrange(len(content) + 1), rng.random()
    if change < 0.3:
        return content[:place]
    if change < 0.6 and content:
        flipped = bytearray(content)
        for _ in range(rng.randint(1, 5)):
            flipped[rng.randrange(len(flipped))] ^= 1 << rng.randrange(8)
        return bytes(flipped)
    if change < 0.7:
        return content.decode("utf-8", "replace").encode(rng.choice(["utf-16", "utf-32", "utf-8-sig"]))
    if change < 0.8:
        return rng.choice([b"[", b'{"a":', b"<a>", b"(", b"- "]) * 3000 + content
    inserted = rng.choice(
        [b"\xff\xfe", b"\x00", b"\xef\xbb\xbf", b"\n", b"]" * 9, b"}", b'"', b"9" * 5000, b"\xed\xa0\x80"]
    )
    return content[:place] + inserted + content[place:]
