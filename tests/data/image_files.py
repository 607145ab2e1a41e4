"""Image files made byte by byte: an orientation in a JPEG, and TIFF files of any type, number of bands and layout."""

import struct

import cv2
import numpy as np


def jpeg(image, orientation=None, order=">"):
    """The bytes of a JPEG, with an EXIF segment that has an ``orientation``."""
    content = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 95])[1].tobytes()
    return content if orientation is None else with_exif(content, exif(orientation, order))


def exif(orientation, order=">"):
    """EXIF data with one entry: orientation (274), a SHORT."""
    mark = b"MM\0*" if order == ">" else b"II*\0"
    entry = struct.pack(f"{order}HHIHH", 274, 3, 1, orientation, 0)
    return mark + struct.pack(f"{order}IH", 8, 1) + entry + bytes(4)


def with_exif(content, data):
    """A JPEG with an APP1 segment behind its start."""
    data = b"Exif\0\0" + data
    return content[:2] + b"\xff\xe1" + (len(data) + 2).to_bytes(2, "big") + data + content[2:]


def tiff(pixels, *, orientation=1, extra=None, photometric=None, planar=1, order="<", more=None, text=None):
    """The bytes of an uncompressed TIFF of ``pixels`` (H, W) or (H, W, C).

    ``extra`` are the kinds of further bands, ``more`` further tags with their whole numbers, ``text`` with their texts.
    """
    pixels = np.atleast_3d(pixels)
    height, width, bands = pixels.shape
    bits = pixels.dtype.itemsize * 8
    photometric = photometric if photometric is not None else 2 if bands >= 3 else 1
    extra = extra if extra is not None else [0] * (bands - (3 if photometric == 2 else 1))
    stored = (pixels if planar == 1 else pixels.transpose(2, 0, 1)).astype(pixels.dtype.newbyteorder(order))
    data, parts = stored.tobytes(), 1 if planar == 1 else bands
    tags = {
        **{256: [width], 257: [height], 258: [bits] * bands, 259: [1], 262: [photometric]},
        **{273: [8 + part * len(data) // parts for part in range(parts)], 274: [orientation], 277: [bands]},
        **{278: [height], 279: [len(data) // parts] * parts, 284: [planar]},
        **{338: extra, 339: [{"u": 1, "i": 2, "f": 3}[pixels.dtype.kind]] * bands},
        **(more or {}),
        **{tag: words.encode() + b"\0" for tag, words in (text or {}).items()},
    }
    tags = {tag: values for tag, values in sorted(tags.items()) if values}
    far, place, entries = b"", 8 + len(data) + 2 + 12 * len(tags) + 4, b""
    for tag, values in tags.items():
        kind = 2 if isinstance(values, bytes) else 4 if tag in (273, 279) else 3
        field = struct.pack(f"{order}{len(values)}{'BHI'[kind - 2]}", *values)
        entries += struct.pack(f"{order}HHI", tag, kind, len(values))
        entries += field.ljust(4, b"\0") if len(field) <= 4 else struct.pack(f"{order}I", place + len(far))
        far += field if len(field) > 4 else b""
    start = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}I", 8 + len(data))
    return start + data + struct.pack(f"{order}H", len(tags)) + entries + bytes(4) + far


def joined_tiffs(*files):
    """A TIFF of several pages: the little-endian files one after the other, each directory pointing to the next one."""
    content, last = b"", 4
    for file in files:
        start = len(content)
        content = bytearray(content + file)
        directory = struct.unpack_from("<I", file, 4)[0]
        count = struct.unpack_from("<H", file, directory)[0]
        for entry in range(directory + 2, directory + 2 + 12 * count, 12):
            tag, kind, number, value = struct.unpack_from("<HHII", file, entry)
            if tag == 273 or {2: 1, 3: 2, 4: 4}[kind] * number > 4:  # a place in the file
                struct.pack_into("<I", content, start + entry + 8, value + start)
        struct.pack_into("<I", content, last, start + directory)
        last = start + directory + 2 + 12 * count
        content = bytes(content)
    return content
