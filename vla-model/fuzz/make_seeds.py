#!/usr/bin/env python3
"""Writes seeds for the fuzz targets into seeds/<target>/, from the test data and from scratch."""

import json
import struct
from pathlib import Path

HERE = Path(__file__).parent
DATA = HERE.parent / "tests" / "data" / "lerobot"


def write(target: str, name: str, data: bytes) -> None:
    folder = HERE / "seeds" / target
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(data)


def safetensors(tensors: dict[str, tuple[str, list[int], bytes]], metadata: dict[str, str] | None = None) -> bytes:
    header, data = {}, b""
    if metadata is not None:
        header["__metadata__"] = metadata
    for name, (dtype, shape, values) in tensors.items():
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [len(data), len(data) + len(values)]}
        data += values
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + data


write("tensors", "floats", safetensors({
    "a.weight": ("F32", [2, 3], struct.pack("<6f", *range(6))),
    "a.bias": ("F32", [2], struct.pack("<2f", 1, -1)),
    "b.weight": ("BF16", [2, 1, 2, 2], bytes.fromhex("803f" * 8)),
    "c": ("F16", [1], bytes.fromhex("003c")),
}, {"format": "pt"}))
write("tensors", "integers", safetensors({
    "q.scale": ("F32", [2], struct.pack("<2f", 0.5, 0.25)),
    "p.scale": ("F32", [1, 1], struct.pack("<f", 0.5)),
    "count": ("I64", [1], bytes(8)),
    "q.int8": ("I8", [2, 4], bytes([1, 2, 3, 4, 255, 254, 129, 127])),
    "p.int4": ("U8", [1, 16], bytes([0x81, 0x9F] * 8)),
}))
write("tensors", "statistics", (DATA / "smolvla_tiny" / "policy_preprocessor_step_5_normalizer_processor.safetensors").read_bytes())
for index, name in enumerate(["act_tiny", "smolvla_tiny"]):
    folder = DATA / name
    write("config", name, (folder / "config.json").read_bytes())
    parts = [
        folder / "policy_preprocessor.json",
        folder / "policy_postprocessor.json",
        next(folder.glob("policy_preprocessor_step_*.safetensors")),
        next(folder.glob("policy_postprocessor_step_*.safetensors")),
    ]
    small = [json.dumps(json.loads(p.read_text()), separators=(",", ":")).encode() for p in parts[:2]]
    write("processors", name, bytes([index]) + b"\xff".join(small + [p.read_bytes() for p in parts[2:]]))
    write("processors", name + "_without", bytes([index]) + b"\xff".join(small))

letters = [chr(c) for c in range(33, 127)] + ["Ġ", "Ċ"]
vocab = {letter: number for number, letter in enumerate(letters)}
for pair in ["th", "pi", "ck", "Ġr"]:
    vocab[pair] = len(vocab)
write("tokenizer", "byte_level", json.dumps({
    "version": "1.0", "truncation": None, "padding": None,
    "added_tokens": [{"id": len(vocab), "content": "<end>", "single_word": False, "lstrip": False, "rstrip": False,
                      "normalized": False, "special": True}],
    "normalizer": None,
    "pre_tokenizer": {"type": "Sequence", "pretokenizers": [
        {"type": "Digits", "individual_digits": True},
        {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}]},
    "post_processor": {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": False, "use_regex": True},
    "decoder": {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True},
    "model": {"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None,
              "end_of_word_suffix": None, "fuse_unk": False, "byte_fallback": False, "ignore_merges": False,
              "vocab": vocab, "merges": ["t h", "p i", "c k", ["Ġ", "r"]][:3]},
}, ensure_ascii=False).encode())
write("tokenizer", "word_level", json.dumps({
    "version": "1.0", "added_tokens": [], "normalizer": {"type": "Lowercase"}, "pre_tokenizer": {"type": "Whitespace"},
    "post_processor": {"type": "TemplateProcessing",
                       "single": [{"SpecialToken": {"id": "a", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
                       "pair": [], "special_tokens": {"a": {"id": "a", "ids": [0], "tokens": ["a"]}}},
    "decoder": None, "model": {"type": "WordLevel", "vocab": {"a": 0, "the": 1}, "unk_token": "a"},
}).encode())
