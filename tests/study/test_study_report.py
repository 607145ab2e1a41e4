"""The report: its verdicts and tables on literal figures, and docs/study.md against the JSON files in git."""

import itertools
import re
from pathlib import Path

import pytest

from lib.study.report import make_page, publish, published, write_page
from lib.study.summary import Study, read_study, verdict
from lib.utils.files import write_json

ROOT = Path(__file__).resolve().parents[2]
SMALL = {"plain": [0.10, 0.12], "S1L0": [0.20, 0.24], "dual": [0.11, 0.11]}
LARGE = {"plain": [0.30, 0.30], "S1L0": [0.25, 0.27], "dual": [None, None]}


def result(row: str, seed: int) -> dict:
    metrics = {"AP": 0.1, "AP50": 0.2, "AP_small": SMALL[row][seed], "AP_large": LARGE[row][seed], "AR_1": 0.0}
    curve = {"edges": [4.0, 8.0, 64.0], "objects": [5, 5], "ap": [0.1, 0.2], "recall": [0.2, 0.3]}
    place = {"row": row, "budget": "images", "seed": seed, "metrics": metrics, "curve": curve}
    cost = {"gmac": 0.1712, "parameters": 512_000, "seconds": 60.4, "images_seen": 8400}
    about = {"device": "cpu: x", "torch": "2", "threads": 1, "precision": "fp32", "commit": "abc", "date": "2026-11-21"}
    return {**place, **cost, **about, "counts": {"all": 10, "small": 5, "large": 5}}


def study() -> Study:
    def of(row: str, metric: str, low: float | None, high: float | None) -> dict:
        return {"budget": "images", "row": row, "against": "plain", "metric": metric, "low": low, "high": high}

    claims = [
        {"text": "More {size}:", "better": "S1L0", "worse": "plain", "ranges": ["small", "large"]},
        {"text": "Dual {size}:", "better": "dual", "worse": "plain", "ranges": ["small", "large"]},
    ]
    budgets = {"seconds": {}, "images": {}}
    grid = {"rows": SMALL, "budgets": budgets, "seeds": [0, 1], "reference": "plain", "claims": claims}
    runs = {f"{row}_images_{seed}": "" for row in SMALL for seed in (0, 1)}
    intervals = [of("S1L0", "AP_small", 0.05, 0.15), of("S1L0", "AP_large", -0.08, -0.01)]
    intervals += [of("dual", "AP_small", -0.02, 0.03), of("dual", "AP_large", None, None)]
    times = {"models": {row: {"time_ms": {"total": {"median": 12.34}}} for row in SMALL}}
    about = {"name": "mine", "command": "python x", "jobs": 2, "grid": grid, "runs": runs}
    results = [result(row, seed) for row in SMALL for seed in (0, 1)]
    return Study({**about, "intervals": intervals, "timing": times}, results)


def test_claims_are_judged_by_their_intervals_and_failures_are_said():
    text = make_page([study()])
    assert "Of 4 verdicts: holds 1, contradicted 1, undecided 1, untested 1." in text
    numbers = "equal numbers of images, S1L0 - plain is"
    assert f"- More small: **holds** at {numbers} +0.110 (+0.050 to +0.150).\n" in text
    assert f"- More large: **contradicted** at {numbers} -0.040 (-0.080 to -0.010).\n" in text
    assert "- Dual small: **undecided** at equal numbers of images, dual - plain is +0.000 (-0.020 to +0.030)." in text
    assert "- Dual large: **untested** at equal numbers of images.\n" in text


def test_what_to_choose_follows_from_the_verdicts():
    given = study()
    words = {"holds": "Take S1L0 for {size}.", "fails": "Leave it for {size}.", "undecided": "Either for {size}."}
    given.about["grid"]["claims"][0]["advice"] = {"budget": "images", **words}
    given.about["grid"]["note"] = "Made on a Tuesday."
    text = make_page([given])
    chosen = text.split("### What to choose")[1].split("### Verdicts")[0].split("\n")
    where = "(S1L0 - plain, equal numbers of images:"
    assert [line for line in chosen if line] == [
        f"- Take S1L0 for small. {where} small +0.110 (+0.050 to +0.150))",
        f"- Leave it for large. {where} large -0.040 (-0.080 to -0.010))",
    ]
    given.about["intervals"][1] |= {"low": 0.01, "high": 0.02}
    both = "small +0.110 (+0.050 to +0.150), large -0.040 (+0.010 to +0.020)"
    assert f"- Take S1L0 for small and large. {where} {both})\n" in make_page([given])
    assert "\n\nMade on a Tuesday.\n\n" in text
    assert "What to choose" not in make_page([study()])


def test_tables_hold_means_deviations_costs_and_a_link_a_run():
    text = make_page([study()])
    links = "[0](results/study/mine/S1L0_images_0.json) [1](results/study/mine/S1L0_images_1.json)"
    cells = "0.100 ± 0.000 | 0.220 ± 0.028 | 0.260 ± 0.014 | 0.171 | 0.51 | 12.3 | 60 CPU | 8,400"
    assert f"| S1L0 | {cells} | {links} |" in text
    assert "| dual | 0.100 ± 0.000 | 0.110 ± 0.000 | - | " in text
    assert "| S1L0 - plain | - | **+0.110 (+0.050 to +0.150)** | **-0.040 (-0.080 to -0.010)** |" in text


def test_what_was_not_run_is_named():
    text = make_page([study()], [ROOT / "experiments/study/full.yaml"])
    missing = ", ".join(f"{row}_seconds_{seed}" for row in SMALL for seed in (0, 1))
    assert f"6 runs: {missing}." in text
    assert re.search(r"## full: not run\n\n.*Its variants: plain, plain_600, S1L0, ", text)


def test_page_is_written_from_json_files_with_its_figures(tmp_path):
    write_json(tmp_path / "results" / "study.json", study().about)
    for name, found in zip(study().about["runs"], study().results, strict=True):
        write_json(tmp_path / "results" / f"{name}.json", found)
    write_page(tmp_path / "page.md", [tmp_path / "results"], links="results")
    assert (tmp_path / "page.md").read_text() == make_page([study()], links="results")
    for name in re.findall(r"!\[.*\]\((.*)\)", (tmp_path / "page.md").read_text()):
        assert (tmp_path / name).stat().st_size > 10_000


def test_publishing_a_study_replaces_its_files_and_no_others(tmp_path):
    for folder in ("results", "other"):
        write_json(tmp_path / folder / "study.json", study().about)
        for name, of_run in zip(study().about["runs"], study().results, strict=True):
            write_json(tmp_path / folder / f"{name}.json", of_run)
    write_json(tmp_path / "old_images_0.json", {})
    publish(tmp_path / "results", tmp_path)
    assert {file.stem for file in tmp_path.glob("*.json")} == {"study", *study().about["runs"]}
    assert read_study(tmp_path / "other") == read_study(tmp_path) == study()


def test_publishing_a_study_that_is_not_there_leaves_what_was_published(tmp_path):
    (tmp_path / "target").mkdir()
    (tmp_path / "target" / "study.json").write_text("{}")
    with pytest.raises(FileNotFoundError):
        publish(tmp_path / "results", tmp_path / "target")
    assert (tmp_path / "target" / "study.json").read_text() == "{}"


def test_docs_say_what_the_json_files_in_git_say():
    folders, grids = published(ROOT)
    text = (ROOT / "docs" / "study.md").read_text(encoding="utf-8")
    again = make_page([read_study(folder) for folder in folders], grids)
    assert text == again, "docs/study.md is not of docs/results/study: python tools/study.py --render"


def test_links_of_the_docs_lead_to_files():
    links = re.findall(r"\]\(([^)]*)\)", (ROOT / "docs" / "study.md").read_text(encoding="utf-8"))
    assert [link for link in links if not (ROOT / "docs" / link).is_file()] == []


def test_what_the_readme_says_of_the_study_follows_from_its_intervals():
    study = read_study(ROOT / "docs/results/study/default")

    def verdicts(better, worse, *sizes):
        pairs = itertools.product(study.budgets, sizes)
        return {verdict(study.change(better, worse, budget, f"AP_{size}")) for budget, size in pairs}

    assert study.budgets == ["seconds", "images"]
    assert verdicts("S1L0", "plain", "tiny", "small") == {"holds"}
    assert verdicts("S1L0_dual", "S1L0", "larger") == {"holds"}
    assert verdicts("S1L0", "plain_384", "tiny", "small") == {"undecided"}


@pytest.mark.parametrize(
    ("name", "difference"), [("real_hituav", "0.041 on HIT-UAV"), ("real_deeppcb", "0.061 on DeepPCB")]
)
def test_what_the_readme_says_of_real_images_follows_from_their_intervals(name, difference):
    study, text = read_study(ROOT / "docs/results/study" / name), (ROOT / "README.md").read_text(encoding="utf-8")
    assert verdict(study.change("S1L0", "plain", "cpu_time", "AP_small")) == "fails"
    dual = study.change("S1L0_dual", "plain", "images", "AP_small")
    assert verdict(dual) == "holds"
    assert f"{dual.value:.3f}" == difference.split()[0]
    assert difference in " ".join(text.split())
    seen = [study.of(row, "cpu_time")[0]["images_seen"] for row in ("plain", "S1L0")]
    assert seen[0] / seen[1] == pytest.approx(3.5, abs=0.1)
    cost = [study.of(row, "images")[0]["gmac"] for row in ("S1L0_dual", "plain")]
    assert cost[0] / cost[1] == pytest.approx(5, abs=0.2)
