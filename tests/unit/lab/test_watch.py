"""What the canary of a witness is made of."""

from hpack.huffman import HuffmanEncoder
from hpack.huffman_constants import REQUEST_CODES, REQUEST_CODES_LENGTH

from pointsman.lab import watch


def test_no_code_of_hpack_makes_a_canary_shorter() -> None:
    canary = watch.made_up()

    assert len(HuffmanEncoder(REQUEST_CODES, REQUEST_CODES_LENGTH).encode(canary)) == len(canary) == 60


def test_no_two_canaries_are_the_same() -> None:
    assert len({watch.made_up() for _ in range(100)}) == 100
