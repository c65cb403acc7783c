"""A service that takes over ``ramp -> rate``, with none of calstream's code: see README.md beside it."""

import hashlib
import json
import os
import sys
from pathlib import Path
from urllib.parse import unquote, urlparse

import jsonschema
import numpy as np
from astropy.io import fits
from kafka import KafkaConsumer, KafkaProducer, OffsetAndMetadata, TopicPartition

NAME, VERSION = "my-fit", "1"


def fit(ramp_file, rate_file):
    """Fit one slope to each pixel: a line in each stretch between jumps, all of the same slope."""
    with fits.open(ramp_file) as ramp:
        flags = ramp["GROUPDQ"].data
        time = np.arange(flags.shape[1], dtype="f8")[:, None, None] * ramp[0].header["TGROUP"]
        stretch = np.cumsum(flags & 4 > 0, axis=1)  # 4: a jump between this group and the one before
        top, bottom, square, free = (np.zeros(flags.shape[2:]) for _ in range(4))
        for data, good, part in zip(ramp["SCI"].data.astype("f8"), flags & 3 == 0, stretch, strict=True):
            for number in range(part.max() + 1):
                use = good & (part == number) & np.isfinite(data)  # 1: do not use, 2: saturated
                count = np.maximum(use.sum(0), 1)
                t = np.where(use, time - np.where(use, time, 0).sum(0) / count, 0)
                y = np.where(use, data - np.where(use, data, 0).sum(0) / count, 0)
                top, bottom, square = top + (t * y).sum(0), bottom + (t * t).sum(0), square + (y * y).sum(0)
                free += np.maximum(use.sum(0) - 1, 0)
        lost = bottom == 0
        slope = np.where(lost, np.nan, top / np.where(lost, 1, bottom)).astype("f4")
        scatter = np.maximum(square - slope.astype("f8") ** 2 * bottom, 0) / np.maximum(free - 1, 1)
        variance = np.where(lost, np.nan, scatter / np.where(lost, 1, bottom)).astype("f4")
        primary, science = ramp[0].header.copy(), ramp["SCI"].header.copy()
        primary["DATAMODL"], science["BUNIT"] = "ImageModel", "DN/s"
        primary["FILENAME"] = f"{rate_file.name.split('.')[0]}.fits"
        planes = {"ERR": np.sqrt(variance), "DQ": ramp["PIXELDQ"].data | lost.astype("u4")}
        planes |= {
            "VAR_POISSON": np.zeros_like(variance),
            "VAR_RNOISE": variance,
        }  # weights are of the latter
        hdus = [fits.PrimaryHDU(header=primary), fits.ImageHDU(slope, science, name="SCI")]
        hdus += [fits.ImageHDU(plane, name=name) for name, plane in planes.items()]
        fits.HDUList(hdus).writeto(rate_file, output_verify="silentfix", overwrite=True)


def answer(event, store):
    """Make the rate of a ramp, once for each run key, and return the event that says so."""
    ramp = event["product"]
    run_key = hashlib.sha256(json.dumps([NAME, VERSION, ramp["sha256"], event["name"]]).encode()).hexdigest()
    rate_file = store / NAME / run_key / f"{event['name']}_rate.fits"
    if not rate_file.exists():
        rate_file.parent.mkdir(parents=True, exist_ok=True)
        fit(unquote(urlparse(ramp["uri"]).path), part := rate_file.with_suffix(f".{os.getpid()}.part"))
        os.replace(part, rate_file)
    content = rate_file.read_bytes()
    inherited = ("line", "name", "generation", "campaign", "recipe", "keywords")
    origin = {"role": "science", "identity": f"{event['line']}/{event['name']}/{event['suffix']}"}
    return {name: event[name] for name in inherited} | {
        "kind": "product", "topic": "rate", "suffix": "rate", "stage": "ramp_fit", "run_key": run_key,
        "handler": "builtin",  # who is to take it: calstream's next stage
        "product": {
            "uri": rate_file.as_uri(), "size": len(content), "sha256": hashlib.sha256(content).hexdigest()
        },
        "inputs": [{**origin, "digest": ramp["content"] or ramp["sha256"], "uri": ramp["uri"]}],
        "input_count": 1,
    }  # fmt: skip


def main(server, store, schema_file):
    """Answer events, each with its answer in one transaction, until stopped."""
    schema = json.loads(Path(schema_file).read_text())
    consumer = KafkaConsumer(
        "ramp", bootstrap_servers=server, group_id=NAME, enable_auto_commit=False,
        auto_offset_reset="earliest", isolation_level="read_committed",
    )  # fmt: skip
    producer = KafkaProducer(bootstrap_servers=server, transactional_id=NAME, retry_backoff_ms=10)
    producer.init_transactions()
    for record in consumer:
        event = json.loads(record.value)
        said = answer(event, Path(store).absolute()) if event["handler"] == NAME else None
        producer.begin_transaction()
        if said:
            jsonschema.validate(said, schema)
            # One partition count for all topics, and the same key: the same partition.
            producer.send("rate", json.dumps(said).encode(), record.key, partition=record.partition).get(60)
        done = {TopicPartition("ramp", record.partition): OffsetAndMetadata(record.offset + 1, "", -1)}
        producer.send_offsets_to_transaction(done, consumer.group_metadata())
        producer.commit_transaction()
        if said:
            print(said["name"], said["run_key"], flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
