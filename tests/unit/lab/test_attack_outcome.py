from pointsman.lab.attacks.outcome import agrees


def test_details_are_for_the_reader_whatever_commas_they_hold() -> None:
    assert agrees(["nothing grew"], "nothing grew (devices, rules, files: (8, 12, 72))")
    assert agrees(["taken, no growth"], "taken (taken ['a', 'b']; 0.1 s), no growth (3 MB)")
    assert not agrees(["taken, no growth"], "taken (a, b), GREW by 149 MB (149 MB)")


def test_every_term_counts() -> None:
    assert agrees(["DROP, ROUTE(wg-a)"], "DROP, ROUTE(wg-a)")
    assert not agrees(["DROP, ROUTE(wg-a)"], "DROP, ROUTE(wg-a), REACHED(direct)")
