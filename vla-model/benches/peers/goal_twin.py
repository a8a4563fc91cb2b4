"""The goal model in PyTorch: the same layers, shapes and names as `vla-model/src/goal`, for one observation.

A peer to time and to compare with, not a way to train. `load` fills it from a weights file of ours, int8 or f32,
and refuses one that does not fit to the last tensor.
"""

from __future__ import annotations

import json
import math
import struct
from pathlib import Path

import numpy
import torch
from torch import nn
from torch.nn import functional as F

PATCH_LEN = 48
OCTAVES = 5
EXTRA = 2 + 4 * OCTAVES + 2
SHARPNESS = 2.0
DENSE_CLASSES = 13
EPSILON = 1e-5


def matrix(*shape: int) -> nn.Parameter:
    return nn.Parameter(torch.randn(*shape) / shape[-2] ** 0.5)


class Dense(nn.Module):
    """`x · weight + bias`, the weight being `[inputs, outputs]`."""

    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        self.weight = matrix(inputs, outputs)
        self.bias = nn.Parameter(torch.zeros(outputs))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.linear(x, self.weight.t(), self.bias)


class RmsNorm(nn.Module):
    def __init__(self, width: int):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(width))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.rms_norm(x, self.scale.shape, self.scale, EPSILON)


class Block(nn.Module):
    def __init__(self, c: dict):
        super().__init__()
        width = c["width"]
        self.heads = c["heads"]
        self.attention_norm = RmsNorm(width)
        self.query = matrix(width, width)
        self.key_value = matrix(width, 2 * width)
        self.out = matrix(width, width)
        self.mlp_norm = RmsNorm(width)
        self.up = Dense(width, c["mlp_width"])
        self.down = Dense(c["mlp_width"], width)

    def split(self, x: torch.Tensor) -> torch.Tensor:
        return x.unflatten(-1, (self.heads, -1)).transpose(-2, -3)

    def keys_values(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        keys, values = (x @ self.key_value).chunk(2, dim=-1)
        return self.split(keys), self.split(values)

    def forward(self, x: torch.Tensor, memory: tuple[torch.Tensor, torch.Tensor] | None) -> torch.Tensor:
        normal = self.attention_norm(x)
        keys, values = self.keys_values(normal)
        if memory is not None:
            keys, values = torch.cat([memory[0], keys], -2), torch.cat([memory[1], values], -2)
        mixed = F.scaled_dot_product_attention(self.split(normal @ self.query), keys, values)
        x = x + mixed.transpose(-2, -3).flatten(-2) @ self.out
        return x + self.down(F.relu(self.up(self.mlp_norm(x))))


class Text(nn.Module):
    def __init__(self, c: dict):
        super().__init__()
        self.words = nn.Parameter(torch.randn(c["word_vocabulary"], c["width"]))
        self.positions = nn.Parameter(torch.randn(c["max_words"], c["width"]))
        self.layers = nn.ModuleList(Block(c) for _ in range(c["text_layers"]))
        self.norm = RmsNorm(c["width"])
        self.pool = matrix(c["width"], 1)

    def forward(self, words: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        x = (self.words[words] + self.positions[: len(words)])[None]
        for layer in self.layers:
            x = layer(x, None)
        memory = self.norm(x)
        weights = (memory @ self.pool).softmax(1)
        return memory, (weights * memory).sum(1)


class ConvBlock(nn.Module):
    def __init__(self, channels: int):
        super().__init__()
        self.conv = matrix(3, 3 * channels, channels)
        self.bias = nn.Parameter(torch.zeros(channels))
        self.pointwise = matrix(channels, channels)

    def prepare(self) -> None:
        """The kernels in PyTorch's order."""
        channels = len(self.bias)
        kernel = self.conv.detach().reshape(3, 3, channels, channels).permute(3, 2, 0, 1)
        self.register_buffer("kernel", kernel.contiguous(), persistent=False)
        point = self.pointwise.detach().t()[:, :, None, None]
        self.register_buffer("point", point.contiguous(), persistent=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + F.conv2d(F.relu(F.conv2d(x, self.kernel, self.bias, padding=1)), self.point)


class Tower(nn.Module):
    def __init__(self, grid: int, embed: int, merge: int | None, blocks: int):
        super().__init__()
        self.grid, self.group = grid, 1 if merge is None else 4
        self.embed = matrix(PATCH_LEN, embed)
        self.position = nn.Parameter(torch.randn(grid * grid * self.group, embed))
        if merge is not None:
            self.merge = matrix(4 * embed, merge)
        self.blocks = nn.ModuleList(ConvBlock(merge or embed) for _ in range(blocks))

    def forward(self, patches: torch.Tensor) -> torch.Tensor:
        """Patches of the real cells `[cells × group, 48]` to `[cells, channels]`."""
        x = patches @ self.embed + self.position
        if self.group == 4:
            x = F.relu(x).reshape(self.grid * self.grid, -1) @ self.merge
        x = x.t().reshape(1, -1, self.grid, self.grid)
        for block in self.blocks:
            x = block(x)
        return x.flatten(2)[0].t()


class Grounding(nn.Module):
    def __init__(self, c: dict, grid: int, channels: int):
        super().__init__()
        width, self.queries, self.channels = c["width"], c["queries"], channels
        self.query = Dense(width, self.queries * channels)
        self.absent = Dense(width, self.queries)
        self.describe = matrix(channels + EXTRA, width)
        self.describe_bias = nn.Parameter(torch.randn(self.queries, width))
        self.token = Dense(width, width)
        at = (torch.arange(grid) + 0.5) / grid
        centres = torch.stack([at.repeat(grid), at.repeat_interleave(grid)], 1)
        self.register_buffer("centres", centres, persistent=False)
        self.register_buffer("frequencies", math.pi * 2.0 ** torch.arange(OCTAVES), persistent=False)

    def seek(self, pooled: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        queries = self.query(pooled).reshape(self.queries, self.channels) / self.channels**0.5
        return queries, self.absent(pooled).reshape(self.queries, 1)

    def forward(self, cells: torch.Tensor, sought: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
        queries, absent = sought
        scores = queries @ cells.t()
        weights = (scores * SHARPNESS).softmax(1)
        seen, pixel = weights @ cells, weights @ self.centres
        absent_log = torch.cat([scores, absent], 1).log_softmax(1)[:, -1:]
        angles = pixel[:, :, None] * self.frequencies
        waves = torch.cat([angles.sin(), angles.cos()], 2).flatten(1)
        parts = [seen, pixel * 2 - 1, waves, absent_log.exp(), absent_log.clamp_min(-10) * 0.1]
        return self.token(F.relu(torch.cat(parts, 1) @ self.describe + self.describe_bias))


class Goal(nn.Module):
    def __init__(self, c: dict):
        super().__init__()
        self.config = c
        width, scene_grid, wrist_grid = c["width"], c["image_px"] // 4, c["image_px"] // 8
        self.scene = Tower(scene_grid, c["scene_channels"], None, c["scene_blocks"])
        self.wrist = Tower(wrist_grid, c["wrist_embed"], c["wrist_channels"], c["wrist_blocks"])
        self.text = Text(c)
        self.scene_grounding = Grounding(c, scene_grid, c["scene_channels"])
        self.wrist_grounding = Grounding(c, wrist_grid, c["wrist_channels"])
        self.proprio_in, self.proprio_out = Dense(c["proprio_len"], width), Dense(width, 2 * width)
        self.tactile_in, self.tactile_out = Dense(c["tactile_len"], width), Dense(width, width)
        self.slot_queries = nn.Parameter(torch.randn(c["slots"], width))
        self.layers = nn.ModuleList(Block(c) for _ in range(c["layers"]))
        self.norm = RmsNorm(width)
        self.head = Dense(width, c["token_vocabulary"])
        # Read in training only.
        self.scene_dense = Dense(c["scene_channels"], DENSE_CLASSES)
        self.wrist_dense = Dense(c["wrist_channels"], DENSE_CLASSES)

    def parameter_count(self) -> int:
        return sum(parameter.numel() for parameter in self.parameters())

    def instruct(self, words: torch.Tensor) -> tuple:
        """All that depends on the instruction alone."""
        memory, pooled = self.text(words)
        kept = [layer.keys_values(memory) for layer in self.layers]
        return kept, self.scene_grounding.seek(pooled), self.wrist_grounding.seek(pooled)

    def forward(self, scene, wrist, proprio, tactile, instruction) -> torch.Tensor:
        """Patches of real cells, posture `[1, n]`, touch `[1, n]` to logits `[slots, vocabulary]`."""
        memory, scene_sought, wrist_sought = instruction
        posture = self.proprio_out(F.relu(self.proprio_in(proprio))).reshape(2, -1)
        touch = self.tactile_out(F.relu(self.tactile_in(tactile)))
        tokens = torch.cat([
            self.scene_grounding(self.scene(scene), scene_sought),
            self.wrist_grounding(self.wrist(wrist), wrist_sought),
            posture, touch, self.slot_queries,
        ])[None]  # fmt: skip
        for layer, kept in zip(self.layers, memory):
            tokens = layer(tokens, kept)
        return self.head(self.norm(tokens[0, -self.config["slots"] :]))


def load(path: Path) -> Goal:
    """The model of a weights file, in f32; integers are multiplied by their scales."""
    from safetensors.numpy import load as parse

    data = Path(path).read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    config = json.loads(json.loads(data[8 : 8 + length])["__metadata__"]["reflexarc"])["config"]
    stored = parse(data)
    values = {name: value for name, value in stored.items() if not name.endswith((".q", ".scale"))}
    for name, value in stored.items():
        if name.endswith(".q"):
            values[name[:-2]] = value.astype(numpy.float32) * stored[name[:-2] + ".scale"]
        elif name.endswith(".scale") and name[:-6] + ".q" not in stored:
            values[name] = value  # a norm's own scale
    model = Goal(config)
    model.load_state_dict({name: torch.from_numpy(value) for name, value in values.items()}, strict=True)
    for module in model.modules():
        if isinstance(module, ConvBlock):
            module.prepare()
    return model.eval()


def inputs(c: dict, seed: int) -> dict[str, torch.Tensor]:
    """One observation of seeded noise."""
    g = torch.Generator().manual_seed(seed)
    cells = (c["image_px"] // 4) ** 2
    shapes = {"scene": (cells, PATCH_LEN), "wrist": (cells, PATCH_LEN),
              "proprio": (1, c["proprio_len"]), "tactile": (1, c["tactile_len"])}  # fmt: skip
    return {name: torch.randn(*shape, generator=g) for name, shape in shapes.items()}
