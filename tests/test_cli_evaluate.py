"""`oncoscope evaluate`: out of fold, elsewhere, two runs, standardised centres; a page that needs nothing, and JSON."""

from __future__ import annotations

import json
import re
from contextlib import redirect_stderr, redirect_stdout
from hashlib import sha256
from html.parser import HTMLParser
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from api.cli import main
from api.cli.judging import text_of
from mil.errors import CohortError
from mil.experiment.folder import RunFolder
from mil.judging.elsewhere import Elsewhere, read_elsewhere
from mil.judging.own import groups, own_cohort
from mil.judging.predicted import out_of_fold
from mil.judging.report.words import interval
from mil.metrics import roc_auc
from mil.trust.fit import fit_trust

TOML = """
[experiment]
name = "toy <b>&amp;"
purpose = "To be run by a test."
[data]
bags = "bags.npz"
labels = "labels.csv"
where = {{ site = ["home"] }}
[task]
{task}
[head]
name = "{head}"
hidden = 4
[training]
epochs = 2
min_epochs = 1
[folds]
count = 2
"""
BINARY = 'kind = "binary"'
FEW = ("--resamples", "100")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """48 slides of 40 patients at home and 30 abroad, where all features are moved; the label moves the second."""
    folder, rng = tmp_path_factory.mktemp("judged"), np.random.default_rng(0)
    sizes, label = rng.integers(2, 8, 78), np.arange(78) // 2 % 2
    home = np.arange(78) < 48
    features = rng.normal(size=(sizes.sum(), 5)) + np.repeat(label, sizes)[:, None] * [0, 1.2, 0, 0, 0]
    features += np.repeat(~home, sizes)[:, None] * 2.0
    names = [f"s{i}" for i in range(78)]
    offsets = np.concatenate([[0], np.cumsum(sizes)])
    np.savez(folder / "bags.npz", features=features.astype(np.float16), offsets=offsets, slide_id=names)
    lines = ["slide_id,patient,centre,site,label,result,sex,treated,days,dead,grade"]
    for i, name in enumerate(names):
        who = f"p{i % 40}" if home[i] else f"q{i}"
        where = f"c{int(who[1:]) % 4}" if home[i] else f"d{i % 2}"
        more = f"{'FM'[i % 3 % 2]},{i % 5 % 2},{50 + i - 20 * label[i]},{int(i % 4 != 0)},{1 + (label[i] + i % 3) % 3}"
        lines.append(f"{name},{who},{where},{'home' if home[i] else 'away'},{label[i]},{'NY'[label[i]]},{more}")
    (folder / "labels.csv").write_text("\n".join(lines) + "\n")
    seal = '[test]\ncentres = ["c3"]\n'
    for name, task, head in (
        ("run", BINARY, "mean"),
        ("other", BINARY, "abmil"),
        ("cox", 'kind = "cox"\ntime = "days"\nevent = "dead"', "mean"),
        ("all", 'kind = "cox"\ntime = "days"\nevent = "dead"', "mean"),
    ):
        text = TOML.format(task=task, head=head) + (seal if name == "cox" else "")
        (folder / f"{name}.toml").write_text(text.replace("hidden", "attention") if head == "abmil" else text)
        assert main(["train", str(folder / f"{name}.toml"), "--out", str(folder / name)]) == 0
    return folder


def said(status: int, *arguments: object) -> tuple[dict[str, Any], str]:
    """Calls the command line with --json; gives the document and what stands on standard error."""
    with redirect_stdout(StringIO()) as out, redirect_stderr(StringIO()) as err:
        assert main([*map(str, arguments), "--json"]) == status
    assert "Traceback" not in err.getvalue()
    return json.loads(out.getvalue()), err.getvalue()


@pytest.fixture(scope="module")
def own(folder: Path) -> dict[str, Any]:
    """The run, judged out of fold."""
    options = ("--group", "sex", "--prevalence", "0.1", "--against", folder / "other", *FEW)
    return said(0, "evaluate", folder / "run", *options)[0]


class Page(HTMLParser):
    """Tags and their attributes of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))


def test_a_run_is_judged_out_of_fold(folder: Path, own: dict[str, Any]) -> None:
    run = RunFolder.open(folder / "run")
    assert own["notice"].lower().startswith("research use only")
    assert (own["what"], own["head"]["n"], own["head"]["patients"]) == ("out of fold", 48, 40)
    for name in ("head", "baseline"):
        assert own[name]["figures"]["auroc"]["value"] == pytest.approx(run.record["verdict"][name], abs=1e-6)
    assert set(own["head"]["subgroups"]) == {"centre", "sex"}
    assert own["head"]["decisions"]["youden"]["chosen_on"] == "the other folds"
    assert own["head"]["decisions"]["youden"]["predictive_values"]["prevalence"] == 0.1
    assert own["cross_validation"][""]["head"]["interval"]
    assert own["centres"]["robustness"]["n"] == 48
    assert own["sets"][0]["patients"] == 40
    stored = json.loads(Path(own["files"]["report_json"]).read_text())
    assert stored == {name: own[name] for name in stored}


def test_probabilities_of_a_fold_are_calibrated_on_the_other_folds(folder: Path) -> None:
    run = RunFolder.open(folder / "run")
    found, said = run.out_of_fold(), out_of_fold(run).head.probabilities
    held = found.folds[0] == 1
    people = [name for name, out in zip(found.patients, held, strict=True) if not out]
    trust = fit_trust(run.task, found.logits[~held], found.targets[~held], people)
    assert said[held] == pytest.approx(trust.apply(found.logits[held]).probabilities)


def test_two_runs_are_compared_on_the_cases_of_both(folder: Path, own: dict[str, Any]) -> None:
    found = own["against"]
    first, second = (out_of_fold(RunFolder.open(folder / name)).head for name in ("run", "other"))
    truth = first.targets[:, 0]
    gap = roc_auc(truth, first.scores[:, 0]) - roc_auc(truth, second.scores[:, 0])
    assert (found["n"], found["head"]) == (48, "abmil")
    assert found["questions"][""]["differences"]["auroc"]["value"] == pytest.approx(gap)


def test_the_page_needs_nothing_and_hides_nothing(folder: Path, own: dict[str, Any]) -> None:
    text = Path(own["files"]["report_html"]).read_text()
    tags = Page(text).tags
    assert not [tag for tag, _ in tags if tag in {"script", "link", "iframe", "object"}]
    images = [attributes for tag, attributes in tags if tag == "img"]
    assert len(images) == 5
    assert all((image["src"] or "").startswith("data:image/svg+xml;base64,") and image["alt"] for image in images)
    assert not re.findall(r"(?:href|src|url\()=?[\"']?http", text)
    assert "Research use only" in text
    assert "toy &lt;b&gt;&amp;amp;" in text
    assert "48 cases of 40 patients.<" in text
    assert "Thresholds were chosen on the other folds." in text
    assert "<td>40</td>" in text  # patients of the sets are a whole number
    assert f"AUROC, by DeLong</th><td>{interval(own['head']['delong'])}" in text
    assert "oncoscope evaluate RUN --against RUN --group sex --prevalence 0.1 --seed 0 --resamples 100" in text
    assert str(folder) not in text


def test_a_cohort_of_elsewhere_is_judged_with_the_thresholds_of_training(folder: Path) -> None:
    lines = (folder / "labels.csv").read_text().splitlines()
    header = lines[0].replace("label", "msi").replace("centre", "hospital")
    (folder / "theirs.csv").write_text("\n".join([header, *lines[1:]]))
    call = ["evaluate", folder / "run", "--bags", folder / "bags.npz", "--labels", folder / "theirs.csv"]
    call += ["--where", "site=away", *FEW]
    assert "no column label" in said(2, *call)[1]
    names = {"label": "msi", "centre": "hospital"}
    columns = [word for pair in names.items() for word in ("--column", "=".join(pair))]
    document, _ = said(0, *call, *columns, "--harmonise", "combat", "--out", folder / "away")
    run = RunFolder.open(folder / "run")
    cohort = read_elsewhere(run, Elsewhere(folder / "bags.npz", folder / "theirs.csv", names, {"site": ("away",)}))
    score = run.predict_logits(cohort).mean(axis=0)[:, 0]
    head = document["head"]
    assert (document["what"], head["n"], document["cross_validation"]) == ("external cohort", 30, None)
    assert head["figures"]["auroc"]["value"] == pytest.approx(roc_auc(run.task.targets(cohort.table)[:, 0], score))
    assert {group["group"] for group in head["subgroups"]["centre"]["groups"]} == {"d0", "d1"}
    rule = head["decisions"]["youden"]
    assert rule["chosen_on"] == "out-of-fold cases of training"
    assert rule["counts"]["tp"] + rule["counts"]["fp"] == int((score >= rule["cuts"][0]).sum())
    change = document["drop"]["head"][""]
    assert change["change"]["value"] == pytest.approx(change["after"] - change["before"])
    assert change["before"] == pytest.approx(run.record["verdict"]["head"], abs=1e-6)
    raw, like = (one["baseline"]["calibration"]["brier"]["value"] for one in (document, document["harmonised"]))
    assert like < raw
    assert document["sets"][0]["patients"] == 30
    assert run.outliers is not None
    unlike = [bool(run.outliers.judge([cohort.features(index)]).reasons) for index in range(30)]
    assert document["unlike"] == sum(unlike) > 15
    made = document["harmonised"]["head"]["figures"]["auroc"]
    assert f"made like training by combat:\nhead AUROC {interval(made)}, n = 30" in text_of(document, "page")
    assert interval(made) in Path(document["files"]["report_html"]).read_text()


def test_survival_and_treatment_have_their_place_on_the_page(folder: Path) -> None:
    options = ("--treatment", "treated", "--group", "sex", "--group", "days")
    document, _ = said(0, "evaluate", folder / "cox", *options, *FEW)
    again = document["head"]["survival"]["harrell_c"]
    assert again["value"] == document["head"]["figures"]["harrell_c"]["value"]
    assert again["interval"] == document["head"]["figures"]["harrell_c"]["interval"]
    assert document["treatment"]["treated"] == 14
    adjusted = [name.partition("=")[0] for name in document["treatment"]["adjusted_for"]]
    assert adjusted == ["sex", *["days"] * 3]  # many numbers are quarters, as in the table of groups
    text = Path(document["files"]["report_html"]).read_text()
    assert "Kaplan-Meier" in text
    for words in ("The score is ", "E-value", "Balance of the arms"):
        assert words in text
    assert "learns something else" in said(1, "evaluate", folder / "cox", "--against", folder / "run", *FEW)[1]


def test_a_run_whose_bags_are_gone_is_judged_by_what_it_said(folder: Path, tmp_path: Path) -> None:
    run = RunFolder.open(folder / "run", tmp_path)
    found = out_of_fold(run)
    assert own_cohort(run, found, ()) is None
    assert set(groups(run, None, ())["centre"]) == {"c0", "c1", "c2", "c3"}
    with pytest.raises(CohortError):
        own_cohort(run, found, ("sex",))


def test_the_sealed_test_is_judged_once(folder: Path) -> None:
    call = ["evaluate", folder / "cox", "--test", *FEW]
    assert "no column nothing" in said(2, *call, "--group", "nothing")[1]  # which did not open it
    assert "must be 1 (treated) or 0" in said(2, *call, "--treatment", "sex")[1]
    assert "that the other run was trained on" in said(2, *call, "--against", folder / "all")[1]
    document, _ = said(0, *call, "--group", "sex")
    report = Path(document["files"]["report_json"]).read_bytes()
    openings = json.loads((folder / "cox" / "openings.json").read_text())["openings"]
    assert [one["result"] for one in openings] == [sha256(report).hexdigest()]
    assert (document["what"], document["head"]["n"]) == ("sealed test", 12)
    assert document["head"]["survival"]["fixed_on"] == "training cases"
    assert "opened before" in said(1, *call)[1]
    again, _ = said(0, *call, "--unseal")
    assert again["head"]["figures"] == document["head"]["figures"]
    assert again["what"] == "test set opened again"
    assert Path(document["files"]["report_json"]).read_bytes() == report  # of the one that was a test
    assert "unsealed again" in (folder / "cox" / "card.md").read_text()
    assert "seals no test set" in said(2, "evaluate", folder / "run", "--test")[1]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--prevalence", "1.5"], "--prevalence must be between 0 and 1"),
        (["--unseal"], "--unseal goes with --test"),
        (["--where", "a=b"], "go with --bags"),
        (["--harmonise", "coral"], "--harmonise goes with"),
        (["--resamples", "5"], "at least 100"),
        (["--test", "--bags", "x"], "the sealed test set is of the run's own cases"),
        (["--group", "nothing"], "no column nothing"),
        (["--seed", "-1"], "--seed must be"),
        (["--out", __file__], "--out must be a folder"),
    ],
)
def test_a_wrong_call_is_one_sentence(folder: Path, options: list[str], words: str) -> None:
    _, err = said(2, "evaluate", folder / "run", *options)
    assert words in err


def test_a_cohort_that_is_not_external_or_not_alike_is_refused(folder: Path, tmp_path: Path) -> None:
    bags, labels = folder / "bags.npz", folder / "labels.csv"
    call = ["evaluate", folder / "run", "--labels", labels]
    _, err = said(2, *call, "--bags", bags)
    assert "row 1 of the table of labels is of a patient of training" in err
    with np.load(bags) as found:
        arrays = dict(found)
    np.savez(tmp_path / "wide.npz", **{**arrays, "features": np.hstack([arrays["features"]] * 2)})
    np.savez(tmp_path / "encoder.npz", **arrays, encoder=np.array("another@1"))
    _, err = said(1, *call, "--bags", tmp_path / "wide.npz", "--where", "site=away")
    assert "10 numbers a tile; the run was trained on 5" in err
    _, err = said(1, *call, "--bags", tmp_path / "encoder.npz", "--where", "site=away")
    assert "another encoder" in err
    _, err = said(2, *call, "--bags", bags, "--where", "site=away", "--column", "strange=label")
    assert "reads no column strange" in err
    assert "p0" not in err
    rows = labels.read_text().splitlines()
    rows[60] = rows[60].replace(",away,", ",away,maybe", 1)
    (tmp_path / "wrong.csv").write_text("\n".join(rows))
    _, err = said(2, *call[:2], "--bags", bags, "--labels", tmp_path / "wrong.csv", "--where", "site=away")
    assert "row 60: the text in column label is no label" in err  # of the table, not of what is left of it
