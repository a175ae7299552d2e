"""Lines of a raw file, in chunks of bounded size, whatever the size of the file or of a line.

Belongs here: bytes. Does not belong here: what a line means. Upstream: blocks of a file. Downstream: decoding.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain

from shadow_platform.contracts.errors import EventFileError

MAX_LINE_BYTES = 1 << 20
MAX_CHUNK_ROWS = 1 << 16
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_NO_TEXT = {
    b"\xff\xfe": "UTF-16",
    b"\xfe\xff": "UTF-16",
    b"\x1f\x8b": "gzip",
    b"PAR1": "Parquet",
    b"PK\x03\x04": "zip",
    b"\x28\xb5\x2f\xfd": "zstd",
}


@dataclass(frozen=True)
class Chunk:
    """Whole lines, each ended by a newline.

    Attributes:
        first_row: number of the first line in its file, from 1.
        is_torn: the file ended without a newline behind the last line.
    """

    content: bytes
    first_row: int
    is_torn: bool = False

    @cached_property
    def lines(self) -> list[bytes]:
        """The lines without their newlines."""
        return self.content.split(b"\n")[:-1]

    @property
    def last_row(self) -> int:
        """Number of the last line."""
        return self.first_row + len(self.lines) - 1

    def line(self, row: int) -> bytes:
        """Line by its number in the file."""
        return self.lines[row - self.first_row]


def chunks(blocks: Iterable[bytes], file: str) -> Iterator[Chunk]:
    """Lines of a file in order. A line longer than ``MAX_LINE_BYTES`` comes cut, but still longer than that.

    Raises:
        EventFileError: the file is no text of lines at all (UTF-16, compressed, Parquet).
    """
    first_row, pending = 1, b""
    for block in _text_blocks(blocks, file):
        end = block.rfind(b"\n") + 1
        if not end:
            pending = (pending + block)[: MAX_LINE_BYTES + 1]
            continue
        for content in _pieces(pending + block[:end]):
            yield Chunk(content, first_row)
            first_row += content.count(b"\n")
        pending = block[end:][: MAX_LINE_BYTES + 1]
    if pending.strip():
        yield Chunk(pending + b"\n", first_row, is_torn=True)


def lines_at(blocks: Iterable[bytes], file: str, rows: Sequence[int]) -> Iterator[tuple[int, bytes]]:
    """Lines of a file by their numbers, which ascend."""
    wanted = iter(rows)
    row = next(wanted, None)
    for chunk in chunks(blocks, file):
        while row is not None and row <= chunk.last_row:
            yield row, chunk.line(row)
            row = next(wanted, None)
        if row is None:
            return


def _text_blocks(blocks: Iterable[bytes], file: str) -> Iterator[bytes]:
    rest = iter(blocks)
    head = b""
    while len(head) < 4 and (block := next(rest, b"")):
        head += block
    found = next((name for magic, name in _NO_TEXT.items() if head.startswith(magic)), None)
    if found:
        raise EventFileError(
            f"{file} is not UTF-8 JSON lines but {found} (starts with {head[:4]!r}); deliver it as plain UTF-8 text"
        )
    return chain([head.removeprefix(_BYTE_ORDER_MARK)], rest)


def _pieces(content: bytes) -> Iterator[bytes]:
    """Content cut after every ``MAX_CHUNK_ROWS`` lines: of the shortest lines, a block holds very many."""
    if content.count(b"\n") <= MAX_CHUNK_ROWS:
        yield content
        return
    lines = content.split(b"\n")[:-1]
    for start in range(0, len(lines), MAX_CHUNK_ROWS):
        yield b"\n".join(lines[start : start + MAX_CHUNK_ROWS]) + b"\n"
