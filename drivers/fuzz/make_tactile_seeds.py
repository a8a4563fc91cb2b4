#!/usr/bin/env python3
"""Writes seeds for the tactile targets into seeds/<target>/, two bytes of choice before each stream."""

import struct
import zlib
from pathlib import Path

HERE = Path(__file__).parent


def write(target: str, name: str, data: bytes) -> None:
    folder = HERE / "seeds" / target
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(data)


def taxels(kind: int, number: int, payload: bytes) -> bytes:
    body = struct.pack("<4BH", kind, 1, 2, 3, number) + payload
    return b"\xa5\x5a" + body + struct.pack("<I", zlib.crc32(body))


i16 = b"".join(taxels(0x11, number, struct.pack("<6h", *range(6))) for number in [0, 1, 5, 5, 6])
f32 = b"".join(taxels(0x12, number, struct.pack("<6f", *range(6))) for number in range(3))
write("taxels", "i16", bytes([6, 1]) + i16)
write("taxels", "f32", bytes([99, 1]) + f32[:50] + b"noise" + f32)
sample = struct.pack("<8f", 25, 1, 2, 3, 26, -4, 5, 0) + b"\r\n"
write("anyskin", "five", bytes([10, 1]) + sample * 5)
write("anyskin", "cut", bytes([200, 1]) + sample * 4 + sample[9:] + sample * 4)
write("anyskin_ascii", "tabs", bytes([3, 1]) + b"25\t1.5\t-2\t3\t26\t4\t5\t6\r\n" * 3)
write("anyskin_ascii", "commas", bytes([90, 0]) + b"hello\n25,1e3,-2,3\n25,1,2\n25,1,2,inf\n25,1,2,3\n")
