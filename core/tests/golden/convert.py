"""Turns recordings of the official Java client and real servers into fixtures.

usage: convert.py FOLDER

Reads every FOLDER/*.jsonl (one recorded frame a line) and writes frames of the same name next to
this script. Kept are the peer, the direction, the header as the recorder decoded it and the frame
in hexadecimal digits; of bodies only those of routes and of stored messages are needed, others
longer than 64 bytes are cut, and the length prefix of the frame is corrected.
"""

import json
import pathlib
import sys

BODY_MAX = 64
STORED_MAX = 4096
STORED_MAGIC = bytes.fromhex("daa320a7")


def converted(line):
    record = json.loads(line)
    frame = bytes.fromhex(record["frame"])
    header_end = 8 + int.from_bytes(frame[5:8])
    body = frame[header_end:]
    stored = body[4:8] == STORED_MAGIC and len(body) <= STORED_MAX
    if len(body) > BODY_MAX and b'"brokerDatas"' not in body and not stored:
        body = body[:BODY_MAX]
    rest = frame[4:header_end] + body
    frame = len(rest).to_bytes(4) + rest
    kept = {key: record[key] for key in ("peer", "direction", "header")}
    return json.dumps(kept | {"frame": frame.hex()}, separators=(",", ":"), ensure_ascii=False)


def main():
    target = pathlib.Path(__file__).parent
    for source in sorted(pathlib.Path(sys.argv[1]).glob("*.jsonl")):
        lines = source.read_text(encoding="utf-8").splitlines()
        text = "".join(converted(line) + "\n" for line in lines)
        (target / source.name).write_text(text, encoding="utf-8")


main()
