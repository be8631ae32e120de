"""Manifests are read strictly, and no message repeats what stands in a cell."""

from __future__ import annotations

from pathlib import Path

import pytest

from biomarkers import ManifestError
from biomarkers.manifest import read_manifest
from slides import Mpp


def manifest_of(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "manifest.csv"
    path.write_bytes(text.encode())
    return path


def test_addresses_are_relative_to_the_manifest(tmp_path: Path) -> None:
    rows = read_manifest(manifest_of(tmp_path, "slide\na.svs\nsub/b.svs\n/abs/c.svs\ns3://bucket/d.svs\n"))
    assert [row.address.location for row in rows] == [
        str(tmp_path / "a.svs"),
        str(tmp_path / "sub" / "b.svs"),
        "/abs/c.svs",
        "s3://bucket/d.svs",
    ]
    assert [(row.number, row.id, row.fallback) for row in rows][:2] == [(1, None, "row-1"), (2, None, "row-2")]


def test_with_a_path_column_slide_is_the_pseudonym(tmp_path: Path) -> None:
    text = "\ufeffslide, path ,patient,mpp0,response\nS-1,doe.svs,P1,0.46,CR\nS-2,roe.svs,,,PD\n\n"
    first, second = read_manifest(manifest_of(tmp_path, text))
    assert (first.id, first.patient, first.address.mpp0) == (
        "S-1",
        "P1",
        Mpp.square(0.46),
    )
    assert (second.id, second.patient, second.address.mpp0) == ("S-2", "", None)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "not a CSV table"),
        ("slide\n", "holds no slides"),
        ("path\nx.svs\n", 'lacks the column "slide"'),
        ("slide,slide\na,b\n", "two with the same name"),
        ("slide,\na,b\n", "a column without a name"),
        ("slide,patient\na\n", "row 1 .* not as many cells"),
        ("slide,patient\na,b\nc,d,e\n", "row 2 .* not as many cells"),
        ("slide,path\nA,x.svs\nB,\n", 'row 2 .* empty "path"'),
        ("slide,path\n,x.svs\n", 'row 1 .* empty "slide"'),
        ("slide,path\nA,x.svs\nB,y.svs\na,z.svs\n", "one slide twice, in rows 1, 3"),
        ("slide,path\nJane Doe,x.svs\n", '"slide" in row 1 .* must be a pseudonym'),
        ("slide,path\n../up,x.svs\n", '"slide" in row 1 .* must be a pseudonym'),
        ("slide,patient\nx.svs,=1+1\n", '"patient" in row 1 .* must be a pseudonym'),
        ("slide,mpp0\nx.svs,fine\n", '"mpp0" in row 1 .* not a scale'),
        ("slide,mpp0\nx.svs,-0.5\n", '"mpp0" in row 1 .* not a scale'),
        ("slide,mpp0\nx.svs,nan\n", '"mpp0" in row 1 .* not a scale'),
        ('slide\n"a\n', "not a CSV table"),
    ],
)
def test_a_bad_manifest_is_refused_with_a_reason(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ManifestError, match=message) as caught:
        read_manifest(manifest_of(tmp_path, text))
    assert "Jane" not in str(caught.value)
    assert ".svs" not in str(caught.value)


def test_a_file_that_is_no_text_or_is_not_there_is_refused(tmp_path: Path) -> None:
    (tmp_path / "manifest.csv").write_bytes(b"slide\n\xff\xfe\n")
    for path in (tmp_path / "manifest.csv", tmp_path / "none.csv", tmp_path):
        with pytest.raises(ManifestError, match=r"not a CSV table|not there") as caught:
            read_manifest(path)
        assert str(tmp_path) not in str(caught.value)
