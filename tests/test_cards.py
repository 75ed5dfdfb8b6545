"""Scorecards of several cohorts: who comes first, in what forms, and who is nearest to whom."""

import io
import json
import re
import sys
from dataclasses import replace

import numpy as np
import pytest
from rich.console import Console

from vitalsynth import sources
from vitalsynth.cli import main
from vitalsynth.evaluation import comparison, metric, scorecard
from vitalsynth.evaluation.nearest import find_nearest
from vitalsynth.reporting import cards


def row(name="two-sample AUROC", value=0.9, low=0.85, high=0.95, floor=0.5, better="near floor", **more):
    ends = {"value": value, "low": low, "high": high, "floor": floor, "floor_low": floor - 0.05}
    ends |= {"floor_high": floor + 0.05, "baseline": more.pop("baseline", None)}
    return metric.row(name, ends, better, "What <it> is.", more.pop("part", "fidelity"))


GOOD, POOR = row(value=0.53, low=0.48, high=0.58), row()
USEFUL = row("TSTR AUROC", 0.7, 0.65, 0.75, 0.8, "higher", part="usefulness", baseline=0.5)
COPIED = row("copies", 0.4, 0.35, 0.45, 0.0, "lower", part="copying")


def test_a_part_is_as_good_as_its_worst_figure():
    told = comparison.indicators([GOOD, row("MMD²", 0.2, 0.15, 0.25, 0.0), USEFUL])
    assert (told["fidelity"].tone, told["fidelity"].figures) == ("bad", 2)
    assert "MMD²" in told["fidelity"].words
    assert told["usefulness"].tone == "fair"
    unknown = comparison.indicators([metric.row("x", {}, "higher", "Not computed: too few.", "coverage")])["coverage"]
    assert (unknown.tone, unknown.words, unknown.figures) == ("unknown", "Not computed: too few", 0)


def test_what_is_said_of_one_cohort_is_not_said_of_all(tmp_path):
    tested = lambda p, name="MMD²": {**row(name), "about": f"What it is (p = {p})."}  # noqa: E731
    cards.write(
        tmp_path / "card.md",
        {"one": [tested(0.5)], "two": [tested(0.01)], "three": [tested(0.5)]},
        title="t",
        about="",
        nearest={},
    )
    text = (tmp_path / "card.md").read_text()
    assert "- MMD²: one, three: What it is (p = 0.5). two: What it is (p = 0.01)." in text
    cards.write(tmp_path / "card.md", {"one": [row()], "two": [row()]}, title="t", about="", nearest={})
    assert "- two-sample AUROC: What <it> is." in (tmp_path / "card.md").read_text()


def test_copies_come_last_however_good_they_look():
    assert comparison.ranked({"poor": [POOR], "copy": [GOOD, COPIED], "good": [GOOD]}) == ["good", "poor", "copy"]


def test_the_baseline_that_copies_is_last_whatever_was_asked(tmp_path):
    """Nobody asked for copying, so no figure says what the baseline is by its making; of others it is not known."""
    given = {"copy": [{**GOOD, "copy": True}], "poor": [POOR]}
    assert comparison.ranked(given) == ["poor", "copy"]
    assert comparison.indicators(given["copy"])["copying"].tone == "bad"
    cards.write(tmp_path / "card.md", given, title="", about="", nearest={})
    text = (tmp_path / "card.md").read_text()
    assert "| copy | good: no difference from real data found (" in text
    assert "| bad: copies of the training data, put here to be flagged |" in text
    assert "was not asked of all (--metrics copying does)" in text
    assert "not asked of all" not in comparison.unasked({"poor": [POOR, COPIED], "copy": given["copy"]})


@pytest.mark.parametrize("width", [60, 80, 100, 160])
@pytest.mark.parametrize("count", [2, 4, 9])
def test_no_number_is_cut_in_a_terminal(width, count):
    names = [f"a cohort of a long name {k}" for k in range(count)]
    some = {name: [row(f"figure {j} of a name", -0.985, -0.984, -0.983) for j in range(3)] for name in names}
    console = Console(width=width, file=io.StringIO(), record=True)
    console.print(comparison.table(some, width))
    console.print(scorecard.table(some[names[0]], "one"))
    text = console.export_text()
    assert "…" not in text and max(map(len, text.splitlines())) <= width
    assert text.count("-0.985") == text.count("[-0.984, -0.983]") == 3 * count + 3


def test_every_form_says_the_same(tmp_path):
    given = {"<b>_%": [GOOD, USEFUL], "poor": [POOR]}
    for end in cards.FORMS:
        cards.write(tmp_path / f"card{end}", given, title="Two", about="4 & 2", notes=["Note."], nearest={})
    page, text, latex, plain = ((tmp_path / f"card{end}").read_text() for end in (".html", ".md", ".tex", ".json"))
    assert "<b>_%" not in page and "&lt;b&gt;_%" in page and "What &lt;it&gt; is." in page
    for said in (page, text, latex):
        assert said.index("_%" if said is not latex else r"\_\%") < said.index("poor")  # best first
        assert "0.530" in said and "[0.480, 0.580]" in said
    assert "| two-sample AUROC | 0.500 [0.450, 0.550] | 0.530 [0.480, 0.580] | 0.900 [0.850, 0.950] |" in text
    assert r"$<$b$>$\_\% & poor \\" in latex
    record = json.loads(plain)
    assert [each["name"] for each in record["cohorts"]] == ["<b>_%", "poor"]
    assert record["cohorts"][0]["parts"]["usefulness"]["tone"] == "fair"
    with pytest.raises(ValueError, match=r"\.html, \.md, \.tex, \.json"):
        cards.write(tmp_path / "card.pdf", given, title="", about="", nearest={})
    assert not (tmp_path / "card.pdf").exists()


def test_who_is_nearest():
    s = sources.sines(count=300, length=12, channels=2, seed=1)
    train, test, other = (s.take(slice(100 * j, 100 * (j + 1))) for j in range(3))
    honest, copied = find_nearest(train, test, other), find_nearest(train, test, train)
    assert 0.3 < honest.closer < 0.7
    assert copied.closer == 1 and np.allclose(copied.to_train, 0, atol=1e-6)
    np.testing.assert_array_equal(train.subject[copied.in_train], copied.synthetic.subject)
    away = replace(other, values=other.values + 2 * train.values.std(axis=(0, 1)))
    assert find_nearest(train, test, away).closer == 0
    # A shift of every value by c standard deviations is c away from what it was.
    shifted = replace(train, values=train.values + 0.01 * train.values.std(axis=(0, 1)))
    np.testing.assert_allclose(find_nearest(train, test, shifted).to_train, 0.01, rtol=1e-3)


@pytest.mark.parametrize("count", [cards.WIDE, cards.WIDE + 1])
def test_many_cohorts_stand_below_each_other(tmp_path, count):
    """Every figure of every cohort is there either way."""
    given = {f"run {k}": [row(value=0.5 + 0.01 * k), USEFUL] for k in range(count)}
    cards.write(tmp_path / "card.html", given, title="t", about="", nearest={})
    table = (tmp_path / "card.html").read_text().partition('<section id="figures">')[2].partition("</table>")[0]
    _, *lines = table.split("<tr>")[1:]
    cells = [re.findall(r'<td class="number verdict[^>]*>(\S+)', line) for line in lines]
    values = [f"{0.5 + 0.01 * k:.3f}" for k in range(count)]
    assert cells == (
        [values, ["0.700"] * count] if count == cards.WIDE else [[], *([value, "0.700"] for value in values)]
    )


def test_evaluate_compares_and_writes_a_card(tmp_path, monkeypatch, capsys):
    """Two runs and a file; a wrong form is refused before anything is judged."""
    common = ["--condition", "died", "--steps", "2", "--held_out", "0.2", "--quiet"]
    for name, preset in (("a", "strong"), ("b", "rcgan")):
        assert main(["train", "icu-demo", "--preset", preset, "--out", str(tmp_path / name), *common]) == 0
    assert main(["sample", str(tmp_path / "a"), "--count", "300", "--out", str(tmp_path / "c.csv"), "--quiet"]) == 0
    asked = ["evaluate", *(str(tmp_path / name) for name in ("a", "b", "c.csv")), "--data", str(tmp_path / "a")]
    capsys.readouterr()
    assert main([*asked, "--metrics", "mmd,coverage", "--report", str(tmp_path / "card.pdf")]) == 2
    assert "card.pdf: a scorecard is written as" in capsys.readouterr().err
    assert main([*asked, "--metrics", "mmd,coverage", "--report", str(tmp_path / "card.html")]) == 0
    assert "3 cohorts, best first" in capsys.readouterr().out
    page = (tmp_path / "card.html").read_text()
    assert page.count("Nearest real sequences: ") == 6  # in the heads and the navigation
    monkeypatch.setattr(sys.modules["vitalsynth.commands.evaluate"], "PICTURED", 2)
    assert main([*asked, "--metrics", "mmd,coverage", "--report", str(tmp_path / "few.html"), "--quiet"]) == 0
    few = (tmp_path / "few.html").read_text()
    assert "Of the best 2 of 3 there are pictures." in few and few.count("Nearest real sequences: ") == 4
    best = re.findall(r'<td class="name">\d\. (.*?)</td>', few)
    assert len(best) == 3 and f"Nearest real sequences: {best[-1]}" not in few
    one = ["evaluate", str(tmp_path / "a"), "--metrics", "mmd", "--baselines", "--report", str(tmp_path / "card.json")]
    assert main([*one, "--quiet"]) == 0
    cohorts = {each["name"]: each["figures"][0] for each in json.loads((tmp_path / "card.json").read_text())["cohorts"]}
    assert set(cohorts) == {"a at step 2", "copy", "block-bootstrap", "gaussian"}
    assert cohorts["copy"]["value"] < cohorts["gaussian"]["value"]
    assert list(cohorts)[-1] == "copy" and cohorts["copy"]["copy"]
    assert "c.csv" in page and "b at step 2" in page and "TSTR" not in page
    assert main([*asked, "--metrics", "mmdd"]) == 2
    assert "did you mean 'mmd'" in capsys.readouterr().err
    for name in ("json.dumps", "json.decoder", "verdict"):
        assert main([*asked, "--metrics", name]) == 2
        assert f"{name} is no function of (train, test, synthetic)" in capsys.readouterr().err
