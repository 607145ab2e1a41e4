"""XML files, which may come from strangers: document types and entities are refused."""

import contextlib
import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree
from xml.parsers import expat

# Encodings of several bytes a character, which expat does not read, and the codec that knows all their characters
_MULTI_BYTE = {
    **dict.fromkeys(("gb2312", "gbk", "gb18030"), "gb18030"),
    **dict.fromkeys(("big5", "big5-hkscs"), "big5hkscs"),
    **dict.fromkeys(("shift_jis", "shift-jis", "windows-31j", "cp932"), "cp932"),
    **dict.fromkeys(("euc-kr", "ks_c_5601-1987", "cp949"), "cp949"),
    "euc-jp": "euc_jp",
}
_DECLARED = re.compile(rb"""\s*<\?xml[^>]*?\sencoding\s*=\s*["']([\w.-]+)""")


def parse_xml(path: Path) -> ElementTree.Element:
    """The root of an XML file that may come from anybody: a document type or an entity is refused."""
    builder = ElementTree.TreeBuilder()
    parser = expat.ParserCreate()

    def refuse(*_: object) -> None:
        raise ValueError(f"{path} must be plain XML; it declares a document type or entities: remove them")

    parser.StartDoctypeDeclHandler = parser.EntityDeclHandler = refuse
    parser.StartElementHandler = builder.start
    parser.EndElementHandler = builder.end
    parser.CharacterDataHandler = builder.data
    try:
        _parse(parser, path, path.read_bytes())
    except (expat.ExpatError, LookupError, UnicodeError) as error:
        advice = "correct it, or export or download it again"
        raise ValueError(f"{path} must be an XML file; it is not valid XML ({error}): {advice}") from None
    return builder.close()


def root_tag(path: Path) -> str:
    """The name of the outermost element of an XML file; empty if it does not begin as one."""
    tags: list[str] = []
    parser = expat.ParserCreate()
    parser.StartElementHandler = lambda tag, _: tags.append(tag)
    with path.open("rb") as file, contextlib.suppress(expat.ExpatError, LookupError, UnicodeError):
        _parse(parser, path, file.read(2**16), is_whole=False)
    return tags[0] if tags else ""


def _parse(parser: Any, path: Path, content: bytes, is_whole: bool = True) -> None:
    """Gives a file, or the beginning of one, to an expat parser; as text where expat does not know the encoding."""
    declared = _DECLARED.match(content)
    encoding = declared[1].decode().lower() if declared else ""
    codec = _MULTI_BYTE.get(encoding)
    text = content.decode(codec, "strict" if is_whole else "ignore") if codec else content
    try:
        parser.Parse(text, is_whole)
    except ValueError as error:
        if "multi-byte encodings" in str(error):
            known = f"UTF-8, UTF-16 or {', '.join(sorted(set(_MULTI_BYTE)))}"
            raise ValueError(f"{path} must be XML in {known}; it declares {encoding}: save it as UTF-8") from None
        raise
