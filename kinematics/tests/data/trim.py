"""Cuts the output of generate.py down to what the tests read: `python3 trim.py <folder with the JSON files>`."""
import json
import pathlib
import sys

KEPT_CONFIGURATIONS = 100  # the first three are special: zero (clipped), all-lower, all-upper

for robot in ("panda", "ur5", "so101"):
    name = f"{robot}_fk_jac.json"
    full = json.loads((pathlib.Path(sys.argv[1]) / name).read_text())
    kept = {key: full[key] for key in ("robot", "urdf", "generator", "base_link", "tip_link", "joint_names", "limits")}
    kept["conventions"] = {key: full["conventions"][key] for key in ("units", "pose", "jacobian_world_aligned", "sampling")}
    rows = [
        json.dumps(
            {
                "q": config["q"],
                "pos": config["pos"],
                "quat": config["quat"],
                "jacobian": config["jacobian_world_aligned"],
            },
            separators=(",", ":"),
        )
        for config in full["configs"][:KEPT_CONFIGURATIONS]
    ]
    head = json.dumps(kept, separators=(",", ":"))[:-1]
    pathlib.Path(name).write_text(head + ',"configs":[\n' + ",\n".join(rows) + "\n]}\n")
