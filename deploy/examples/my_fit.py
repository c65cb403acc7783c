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

NAME, VERSION = "my-fit", "2"
INHERITED = ("line", "name", "generation", "campaign", "recipe", "keywords")


def fit(ramp_file, rate_file):
    """Fit a line to the groups of each pixel up to the first jump, its error from the scatter about it."""
    with fits.open(ramp_file) as ramp:
        data, flags = ramp["SCI"].data.astype("f8"), ramp["GROUPDQ"].data
        # 1: do not use, 2: saturated, 4: a jump since the group before
        use = np.isfinite(data) & (flags & 3 == 0) & (np.cumsum(flags & 4, axis=1) == 0)
        count = np.maximum(use.sum(1, keepdims=True), 1)
        time = np.arange(flags.shape[1])[:, None, None] * ramp[0].header["TGROUP"]
        t = np.where(use, time - (time * use).sum(1, keepdims=True) / count, 0)
        y = np.where(use, data - np.where(use, data, 0).sum(1, keepdims=True) / count, 0)
        free = (count[:, 0] - 1).sum(0) - 1  # a level for each integration, one slope for all
        lost = free < 1
        square = np.where(lost, np.nan, (t * t).sum((0, 1)))
        rate = (t * y).sum((0, 1)) / square
        variance = ((y - rate * t) ** 2).sum((0, 1)) / np.maximum(free, 1) / square
        planes = {"ERR": np.sqrt(variance), "VAR_POISSON": 0 * variance, "VAR_RNOISE": variance}
        ramp[0].header.update(DATAMODL="ImageModel", FILENAME=Path(ramp_file).name.replace("_ramp", "_rate"))
        ramp["SCI"].header["BUNIT"] = "DN/s"
        hdus = [fits.PrimaryHDU(header=ramp[0].header), fits.ImageHDU(rate.astype("f4"), ramp["SCI"].header)]
        hdus += [fits.ImageHDU(ramp["PIXELDQ"].data | lost.astype("u4"), name="DQ")]
        hdus += [fits.ImageHDU(p.astype("f4"), name=n) for n, p in planes.items()]
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
    made = rate_file.read_bytes()
    digest, identity = ramp["content"] or ramp["sha256"], f"{event['line']}/{event['name']}/{event['suffix']}"
    return {field: event[field] for field in INHERITED} | {
        "kind": "product", "topic": "rate", "suffix": "rate", "stage": "ramp_fit", "run_key": run_key,
        "handler": "builtin",  # who is to take it: calstream's next stage
        "product": {"uri": rate_file.as_uri(), "size": len(made), "sha256": hashlib.sha256(made).hexdigest()},
        "inputs": [{"role": "science", "identity": identity, "digest": digest, "uri": ramp["uri"]}],
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
