"""Lines of a process that may send anything."""

from hypothesis import given
from hypothesis import strategies as st

from mask_gate.gate.console.line_reader import LineReader


def lines_of(data, pieces, most_bytes=8):
    reader, lines, begin = LineReader(most_bytes), [], 0
    for end in (*sorted(pieces), len(data)):
        lines += reader.take(data[begin : max(begin, end)])
        begin = max(begin, end)
    return lines


@given(data=st.binary(max_size=60).map(lambda data: data.replace(b"x", b"\n")), pieces=st.data())
def test_in_whatever_pieces_they_come(data, pieces):
    cuts = pieces.draw(st.lists(st.integers(0, len(data)), max_size=5))
    whole = data.split(b"\n")[:-1]
    assert lines_of(data, cuts) == [line if len(line) <= 8 else None for line in whole]


def test_one_without_end_is_not_kept():
    reader = LineReader(8)
    for _ in range(1000):
        assert list(reader.take(b"0123456789")) == []
        assert len(reader._begun) <= 8
    assert list(reader.take(b"\nnext\n")) == [None, b"next"]
