"""Reads a recording as viewers do: the `mcap` package and its ROS 2 decoder, every message and every schema.

Usage: read_recording.py FILE...   Prints one line per file; exits with 1 and says why if anything is wrong.
"""

import json
import sys

from mcap.reader import make_reader
from mcap_ros2.decoder import DecoderFactory

NEEDED = ["/joint_states", "/joint_command", "/camera/scene/image_raw", "/tactile/left/taxels"]


def check(path):
    counts = {}
    with open(path, "rb") as file:
        reader = make_reader(file, decoder_factories=[DecoderFactory()], validate_crcs=True)
        summary = reader.get_summary()
        if summary is None or summary.statistics is None:
            raise ValueError("the file has no summary: it was cut")
        metadata = {record.name: record.metadata for record in reader.iter_metadata()}
        for key in ["config", "policy", "program", "program_sha256"]:
            if key not in metadata["reflexarc.run"]:
                raise ValueError(f"reflexarc.run lacks {key}")
        last_ns = {}
        for schema, channel, message in reader.iter_messages(log_time_order=False):
            counts[channel.topic] = counts.get(channel.topic, 0) + 1
            if channel.message_encoding == "json":
                value = json.loads(message.data)
                unknown = set(value) - set(json.loads(schema.data)["properties"])
                if unknown:
                    raise ValueError(f"{channel.topic} has {sorted(unknown)}, which its schema lacks")
        for schema, channel, message, decoded in reader.iter_decoded_messages(topics=NEEDED):
            if channel.topic == "/camera/scene/image_raw" and len(decoded.data) != decoded.step * decoded.height:
                raise ValueError("an image has another size than it says")
            if message.log_time < last_ns.get(channel.topic, 0):
                raise ValueError(f"{channel.topic} runs backwards")
            last_ns[channel.topic] = message.log_time
        if sum(counts.values()) != summary.statistics.message_count:
            raise ValueError(f"{sum(counts.values())} messages, the summary says {summary.statistics.message_count}")
        for topic in NEEDED + ["/reflexarc/tick", "/reflexarc/thought", "/reflexarc/recorder"]:
            if topic not in counts:
                raise ValueError(f"nothing on {topic}")
        dropped = metadata["reflexarc.recorder"]["dropped"]
        size = file.seek(0, 2)
        start, end = summary.statistics.message_start_time, summary.statistics.message_end_time
        seconds = (end - start) / 1e9
        if not 0 < seconds < 3600:
            raise ValueError(f"its first and last message are {seconds:.0f} s apart")
    print(
        f"{path}: {sum(counts.values())} messages on {len(counts)} topics in {seconds:.2f} s, "
        f"{size / seconds / 1e6:.2f} MB/s in the file, {dropped} dropped"
    )


for name in sys.argv[1:]:
    try:
        check(name)
    except Exception as error:  # whatever it is, the file is not as viewers want it
        sys.exit(f"{name}: {type(error).__name__}: {error}")
