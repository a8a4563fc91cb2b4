#!/usr/bin/env python3
"""Writes taxels_i16.hex, taxels_f32.hex and anyskin.hex beside itself, with Python's own struct and zlib."""

import struct
import zlib
from pathlib import Path

HERE = Path(__file__).parent


def write(name: str, frame: bytes) -> None:
    (HERE / name).write_text(frame.hex() + "\n")


def taxels(kind: int, shape: tuple[int, int, int], number: int, payload: bytes) -> bytes:
    body = struct.pack("<4BH", kind, *shape, number) + payload
    return b"\xa5\x5a" + body + struct.pack("<I", zlib.crc32(body))


write("taxels_i16.hex", taxels(0x11, (2, 3, 1), 513, struct.pack("<6h", 0, 1, -1, 300, 32767, -32768)))
write("taxels_f32.hex", taxels(0x12, (1, 2, 3), 65535, struct.pack("<6f", 0, 0.5, -1.25, 1e-3, 40, 3.5)))
write("anyskin.hex", struct.pack("<8f", 25.5, 1, -2, 3.25, 26, 100, 200, -300) + b"\r\n")
