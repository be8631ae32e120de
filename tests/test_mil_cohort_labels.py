"""The table of labels and its join with bags: strict, counted, in the table's order, and silent about what it holds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mil.cohort.cohort import Joined
from mil.cohort.labels import LabelTable, read_labels
from mil.cohort.patients import by_patient
from mil.cohort.read import join, read_cohort
from mil.cohort.spec import CohortSpec
from mil.errors import CohortError

HEADER = "slide_id,patient,centre,msi\n"
HIDDEN = "Hidden"
SPEC = CohortSpec()


@pytest.fixture(scope="module")
def bags(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five slides a to e, of 1 to 5 tiles that say which slide and tile they are."""
    path = tmp_path_factory.mktemp("bags") / "b.npz"
    rows = [(slide, tile) for slide in range(5) for tile in range(slide + 1)]
    offsets = np.array([0, 1, 3, 6, 10, 15])
    np.savez(path, features=np.array(rows, np.float32), offsets=offsets, slide_id=np.array(list("abcde")))
    return path


def table(folder: Path, text: str) -> Path:
    (folder / "labels.csv").write_text(text, encoding="utf-8")
    return folder / "labels.csv"


def test_cases_stand_in_the_order_of_the_table_and_what_is_left_over_is_counted(tmp_path: Path, bags: Path) -> None:
    labels = table(tmp_path, HEADER + "d,p1,X,yes\nnone,p9,X,yes\na,p1,X,no\nb,p2,Y,\nc,p3,Z,maybe\n")
    cohort = read_cohort(bags, labels, CohortSpec(where={"centre": ("X", "Y")}), ["msi"])
    assert [case.id for case in cohort.cases] == ["d", "a", "b"]
    assert [case.patient for case in cohort.cases] == ["p1", "p1", "p2"]
    assert [case.row for case in cohort.cases] == [1, 3, 4]
    assert cohort.table == {"msi": ("yes", "no", "")}
    assert cohort.joined == Joined(bags_without_row=1, rows_without_bag=1, filtered=1)
    assert cohort.features(0)[:, 0].tolist() == [3, 3, 3, 3]
    assert cohort.subset([2]).joined == cohort.joined


def test_a_patient_is_the_union_of_the_slides_in_the_order_of_the_table(tmp_path: Path, bags: Path) -> None:
    labels = table(tmp_path, HEADER + "d,p1,X,yes\nb,p2,Y,no\na,p1,,\n")
    cohort = read_cohort(bags, labels, CohortSpec(unit="patient"), ["msi"])
    assert [(case.id, case.centre, case.slides, case.row) for case in cohort.cases] == [
        ("p1", "X", (3, 0), 1),
        ("p2", "Y", (1,), 2),
    ]
    assert cohort.table == {"msi": ("yes", "no")}
    assert cohort.features(0).tolist() == [[3, 0], [3, 1], [3, 2], [3, 3], [0, 0]]
    assert cohort.features(0, np.array([1, 4])).tolist() == [[3, 1], [0, 0]]
    assert cohort.sizes().tolist() == [5, 2]
    assert len(cohort.bag(0)) == 5


@pytest.mark.parametrize(("other", "what"), [("a,p1,X,no", "column msi"), ("a,p1,Y,yes", "the centre")])
def test_slides_of_a_patient_that_contradict_each_other_are_named_by_row(
    tmp_path: Path, bags: Path, other: str, what: str
) -> None:
    labels = table(tmp_path, f"{HEADER}d,p1,X,yes\nb,p2,Y,no\n{other}\n")
    with pytest.raises(CohortError, match=f"Rows 1 and 3 .*{what}"):
        read_cohort(bags, labels, CohortSpec(unit="patient"), ["msi"])
    assert len(read_cohort(bags, labels, SPEC, ["msi"])) == 3


def test_a_byte_order_mark_spaces_and_quotes_are_no_part_of_a_text(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_bytes(b'\xef\xbb\xbfslide_id , x\r\n a ,"1,\n2"\r\n\r\n')
    assert read_labels(tmp_path / "t.csv").columns == {"slide_id": ("a",), "x": ("1,\n2",)}


def test_a_table_without_centres_is_taken_under_the_usual_name_alone(tmp_path: Path, bags: Path) -> None:
    labels = table(tmp_path, "slide_id,patient\na,p\n")
    assert read_cohort(bags, labels, SPEC, []).cases[0].centre == ""
    with pytest.raises(CohortError, match="no column site"):
        read_cohort(bags, labels, replace(SPEC, centre="site"), [])


def test_labels_in_the_file_of_bags_itself_make_a_cohort(tmp_path: Path, bags: Path) -> None:
    label = np.array([1.0, np.nan, 0.5])
    np.savez(tmp_path / "b.npz", features=np.ones((3, 2), np.float32), offsets=np.arange(4), label=label)
    cohort = read_cohort(tmp_path / "b.npz", None, SPEC, ["label"])
    assert cohort.table == {"label": ("1.0", "", "0.5")}
    assert [case.patient for case in cohort.cases] == ["0", "1", "2"]
    with pytest.raises(CohortError, match="no labels of their own"):
        read_cohort(bags, None, SPEC, ["label"])


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "no row"),
        (HEADER, "no row"),
        ("slide_id,patient,msi,msi\na,p,1,1\n", "Column 4"),
        ("slide_id,patient,,msi\na,p,1,1\n", "Column 3"),
        (HEADER + "a,p,X\n", "Row 1 .* 3 cells; the header has 4"),
        (HEADER + f"a,p,X,1\nb,p,X,1,{HIDDEN}\n", "Row 2 .* 5 cells"),
        (HEADER + f"a,p,X,1\n\nb,p,X,{HIDDEN}\n", "Row 2 .* 0 cells"),
        (HEADER + f"a,p,X,{HIDDEN * 200}\n", "Row 1 .* too long"),
        (HEADER + f"a,p,X,{HIDDEN}\0\n", "Row 1 .* NUL|cannot be read"),
        (HEADER + f'a,p,X,"{HIDDEN}\n', "cannot be read"),
        (HEADER + f'a,p,X,"{HIDDEN}"x\n', "cannot be read"),
        (HEADER + "a,p,X," + "y" * 200_000, "cannot be read"),
        (HEADER + f"{HIDDEN},p,X,1\nb,q,X,1\n{HIDDEN},p,X,1\n", "Rows 1 and 3 .* same slide"),
        (HEADER + "a,p,X,1\n,p,X,1\n", "Row 2 .* no slide"),
        (HEADER + "b,p,X,1\na,,X,1\n", "Row 2 .* no patient"),
        (f"slide_id,patient\na,{HIDDEN}\n", "no column msi"),
        (f"slide,patient,msi\na,{HIDDEN},1\n", "no column slide_id"),
        (HEADER + f"{HIDDEN},p,X,1\n", "0 of 5 bags"),
    ],
)
def test_what_cannot_be_used_is_refused_by_row_and_never_quoted(
    tmp_path: Path, bags: Path, text: str, words: str
) -> None:
    with pytest.raises(CohortError, match=words) as caught:
        read_cohort(bags, table(tmp_path, text), SPEC, ["msi"])
    assert HIDDEN not in str(caught.value)
    assert str(tmp_path) not in str(caught.value)


def test_a_table_in_another_encoding_or_missing_is_refused(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_bytes("slide_id,patient\nä,p\n".encode("latin-1"))
    for name in ("t.csv", "none.csv", "."):
        with pytest.raises(CohortError, match="cannot be read"):
            read_labels(tmp_path / name)


@settings(max_examples=50)
@given(st.binary(max_size=200))
def test_any_bytes_are_a_table_or_refused(tmp_path_factory: pytest.TempPathFactory, raw: bytes) -> None:
    path = tmp_path_factory.mktemp("t") / "t.csv"
    path.write_bytes(raw)
    try:
        columns = read_labels(path).columns
    except CohortError:
        return
    assert len({len(column) for column in columns.values()}) == 1


class Sized:
    """Slides 0 to 9 of one tile each."""

    ids = tuple(map(str, range(10)))
    sizes = np.ones(10, np.int64)
    width = 1
    encoder = ""
    mpp: tuple[float, ...] = ()
    fingerprint = ""

    def features(self, row: int, tiles: object = None) -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
        del tiles
        return np.full((1, 1), row, np.float32)

    def coords(self, row: int) -> np.ndarray[tuple[int, int], np.dtype[np.int64]]:
        return np.full((1, 2), row)


@settings(max_examples=40)
@given(st.lists(st.integers(0, 3), min_size=10, max_size=10), st.permutations(range(10)))
def test_patients_partition_the_slides_whatever_the_order(patients: Sequence[int], order: Sequence[int]) -> None:
    columns: Mapping[str, tuple[str, ...]] = {
        "slide_id": tuple(str(slide) for slide in order),
        "patient": tuple(f"p{patients[slide]}" for slide in order),
    }
    cohort = by_patient(join(Sized(), LabelTable(columns), SPEC, []))
    assert sorted(slide for case in cohort.cases for slide in case.slides) == list(range(10))
    assert [case.row for case in cohort.cases] == sorted(case.row for case in cohort.cases)
    for case in cohort.cases:
        assert {f"p{patients[slide]}" for slide in case.slides} == {case.patient}
        places = [order.index(slide) for slide in case.slides]
        assert places == sorted(places)


def test_the_real_cohort_joins_whole(data_dir: Path) -> None:
    folder = data_dir / "bags"
    spec = CohortSpec(where={"project": ("COAD", "READ")}, unit="patient")
    cohort = read_cohort(folder / "tcga_bags.npz", folder / "tcga_labels.csv", spec, ["msi"])
    assert cohort.joined.bags_without_row == cohort.joined.rows_without_bag == 0
    assert cohort.source.width == 192
    assert len(cohort) == len({case.patient for case in cohort.cases}) > 300
    assert set(cohort.table["msi"]) >= {"MSI-H", ""}
