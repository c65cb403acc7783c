"""A service that takes over ``ramp -> rate``, with none of calstream's code: see README.md beside it."""

import hashlib
import json
import os
import sys
import zlib
from pathlib import Path
from urllib.parse import unquote, urlparse

import jsonschema
import numpy as np
from astropy.io import fits
from kafka import KafkaConsumer, KafkaProducer, OffsetAndMetadata, TopicPartition

NAME, VERSION = "my-fit", "3"
TOPICS = ("ramp", "association")  # where a recipe has persistence on, ramps come with histories, associated
INHERITED = ("line", "name", "generation", "campaign", "recipe", "keywords")


def fit(ramp_file, histories, rate_file):
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
        dq = ramp["PIXELDQ"].data | lost.astype("u4")
        for pixels in (fits.getdata(history, "PIXELS") for history in histories):
            y, x = pixels["y"] - ramp[0].header["SUBSTRT2"] + 1, pixels["x"] - ramp[0].header["SUBSTRT1"] + 1
            seen = (y >= 0) & (y < dq.shape[0]) & (x >= 0) & (x < dq.shape[1])
            dq[y[seen], x[seen]] |= 32  # persistence of the exposures before
        hdus += [fits.ImageHDU(dq, name="DQ")]
        hdus += [fits.ImageHDU(p.astype("f4"), name=n) for n, p in planes.items()]
        fits.HDUList(hdus).writeto(rate_file, output_verify="silentfix", overwrite=True)


def path_of(uri):
    """Return where a file lies."""
    return Path(unquote(urlparse(uri).path))


def inputs_of(event):
    """Return what a rate is made from: a ramp, and what else an association names."""
    if event["kind"] == "association":
        (product,) = json.loads(path_of(event["association"]["uri"]).read_text())["products"]
        return [
            {"role": one["exptype"], **{field: one[field] for field in ("identity", "digest", "uri")}}
            for one in product["members"]
        ]
    ramp, identity = event["product"], f"{event['line']}/{event['name']}/{event['suffix']}"
    digest = ramp["content"] or ramp["sha256"]
    return [{"role": "science", "identity": identity, "digest": digest, "uri": ramp["uri"]}]


def answer(event, store):
    """Make the rate of a ramp, once for each run key, and return the event that says so."""
    inputs = inputs_of(event)
    read = sorted((one["role"], one["digest"]) for one in inputs)
    run_key = hashlib.sha256(json.dumps([NAME, VERSION, read, event["name"]]).encode()).hexdigest()
    rate_file = store / NAME / run_key / f"{event['name']}_rate.fits"
    if not rate_file.exists():
        rate_file.parent.mkdir(parents=True, exist_ok=True)
        files = [(one["role"], path_of(one["uri"])) for one in inputs]
        histories = [path for role, path in files if role == "persistence"]
        fit(dict(files)["science"], histories, part := rate_file.with_suffix(f".{os.getpid()}.part"))
        os.replace(part, rate_file)
    made = rate_file.read_bytes()
    return {field: event[field] for field in INHERITED} | {
        "kind": "product", "topic": "rate", "suffix": "rate", "stage": "ramp_fit", "run_key": run_key,
        "handler": "builtin",  # who is to take it: calstream's next stage
        "product": {"uri": rate_file.as_uri(), "size": len(made), "sha256": hashlib.sha256(made).hexdigest()},
        "inputs": inputs if event["kind"] == "product" else [], "association": event.get("association"),
        "input_count": len(inputs),
    }  # fmt: skip


def main(server, store, schema_file):
    """Answer events, each with its answer in one transaction, until stopped."""
    schema = json.loads(Path(schema_file).read_text())
    consumer = KafkaConsumer(
        *TOPICS, bootstrap_servers=server, group_id=NAME, enable_auto_commit=False,
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
            key = said["name"].encode()
            partition = zlib.crc32(key) % len(consumer.partitions_for_topic(record.topic))  # as all do
            producer.send("rate", json.dumps(said).encode(), key, partition=partition).get(60)
        done = {TopicPartition(record.topic, record.partition): OffsetAndMetadata(record.offset + 1, "", -1)}
        producer.send_offsets_to_transaction(done, consumer.group_metadata())
        producer.commit_transaction()
        if said:
            print(said["name"], said["run_key"], flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
