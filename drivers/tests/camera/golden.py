"""Makes the golden frames of the camera's decoders. Needs Pillow and NumPy.

    python3 drivers/tests/camera/golden.py

For each frame NAME there is NAME.mjpeg or NAME.yuyv, as a camera sends it, and NAME.rgb, what it shows. JPEGs are
decoded by libjpeg-turbo (in Pillow), YUYV by the formulas of ITU-R BT.601 in double precision.
"""

import io
import pathlib
import re

import numpy as np
from PIL import Image

HERE = pathlib.Path(__file__).parent
WIDTH, HEIGHT = 32, 16


def picture():
    """A soft picture of all colours: what a JPEG keeps well."""
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH].astype(float)
    red = 255 * x / (WIDTH - 1)
    green = 255 * y / (HEIGHT - 1)
    blue = 127.5 + 127.5 * np.sin(x / 6 + y / 4)
    return np.stack([red, green, blue], axis=-1).round().astype(np.uint8)


def segments(jpeg):
    """Marker, start and end of each segment up to the scan."""
    at = 2
    while jpeg[at + 1] != 0xDA:
        end = at + 2 + int.from_bytes(jpeg[at + 2 : at + 4], "big")
        yield jpeg[at + 1], at, end
        at = end


def without_tables(jpeg):
    """What a UVC camera sends: no DHT segments."""
    for code, start, end in reversed(list(segments(jpeg))):
        if code == 0xC4:
            jpeg = jpeg[:start] + jpeg[end:]
    return jpeg


def check_tables(jpeg):
    """libjpeg's standard tables are those in the source."""
    ours = (HERE / "../../src/camera/decode/huffman.rs").read_text()
    ours = bytes(int(byte, 16) for byte in re.findall(r"0x([0-9a-f]{2})\b", ours))
    tables = {jpeg[start + 4]: jpeg[start + 4 : end] for code, start, end in segments(jpeg) if code == 0xC4}
    assert ours == b"\xff\xc4\x01\xa2" + b"".join(tables[key] for key in (0x00, 0x10, 0x01, 0x11))


def save_mjpeg(name, subsampling, strip, padding=0, grey=False, restart=0):
    image = Image.fromarray(picture())
    out = io.BytesIO()
    image = image.convert("L") if grey else image
    image.save(out, "JPEG", quality=90, subsampling=subsampling, restart_marker_blocks=restart)
    jpeg = out.getvalue()
    rgb = np.asarray(Image.open(io.BytesIO(jpeg)).convert("RGB"))
    if strip:
        if not grey:
            check_tables(jpeg)
        jpeg = without_tables(jpeg)
    (HERE / f"{name}.mjpeg").write_bytes(jpeg + bytes(padding))
    (HERE / f"{name}.rgb").write_bytes(rgb.tobytes())


def save_yuyv(name):
    """All of Y and many U and V, beyond the limited range too."""
    rng = np.random.default_rng(1)
    packed = rng.integers(0, 256, (HEIGHT, WIDTH // 2, 4), dtype=np.uint8)
    y = packed[:, :, [0, 2]].reshape(HEIGHT, WIDTH).astype(float)
    u = packed[:, :, 1].repeat(2, axis=1).astype(float) - 128
    v = packed[:, :, 3].repeat(2, axis=1).astype(float) - 128
    light = (y - 16) * 255 / 219
    scale = 255 / 224
    red = light + scale * 1.402 * v
    green = light - scale * (0.344136286 * u + 0.714136286 * v)
    blue = light + scale * 1.772 * u
    rgb = np.stack([red, green, blue], axis=-1)
    rgb = np.clip(np.floor(rgb + 0.5), 0, 255).astype(np.uint8)
    (HERE / f"{name}.yuyv").write_bytes(packed.tobytes())
    (HERE / f"{name}.rgb").write_bytes(rgb.tobytes())


save_mjpeg("tables-444", subsampling=0, strip=False)
save_mjpeg("bare-422", subsampling=1, strip=True, padding=37)
save_mjpeg("bare-420", subsampling=2, strip=True)
save_mjpeg("bare-422-restarts", subsampling=1, strip=True, restart=1)
save_mjpeg("grey", subsampling=0, strip=True, grey=True)
save_yuyv("noise")
