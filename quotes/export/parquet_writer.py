"""Parquet from CSV, by stdin and stdout: `python -m quotes.export.parquet_writer`.

In a process of its own, since the library takes more memory than all else in a web process, and
holds its interpreter for longer than the event loop can wait.
"""

import sys
from typing import BinaryIO

import pyarrow as pa
from pyarrow import csv, parquet

BLOCK = 4 << 20  # bytes of lines that make a row group: some 50,000 rows

MOMENT = pa.timestamp("us", tz="UTC")
# The price is text: a DECIMAL's scale is the same for a whole column, and no scale holds micro
# prices, settlement averages of twelve decimals and the zeros at the end of the others.
SCHEMA = pa.schema(
    [
        pa.field("ticker", pa.string(), nullable=False),
        pa.field("at", MOMENT, nullable=False),
        pa.field("price", pa.string(), nullable=False),
        pa.field("observedAt", MOMENT, nullable=False),
        pa.field("exactTime", pa.bool_(), nullable=False),
        pa.field("source", pa.string(), nullable=False),
        pa.field("origin", pa.string(), nullable=False),
    ]
)


def write(lines: BinaryIO, target: BinaryIO) -> None:
    """A Parquet file of a CSV file's lines."""
    batches = csv.open_csv(
        lines,
        read_options=csv.ReadOptions(block_size=BLOCK, use_threads=False),
        convert_options=csv.ConvertOptions(
            column_types=dict(zip(SCHEMA.names, SCHEMA.types, strict=True))
        ),
    )
    with parquet.ParquetWriter(target, SCHEMA, compression="zstd") as writer:
        for batch in batches:
            writer.write_batch(batch.cast(SCHEMA))


if __name__ == "__main__":
    write(sys.stdin.buffer, sys.stdout.buffer)
