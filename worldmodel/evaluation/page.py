"""The report as one page that needs nothing beside it: tables, curves as SVG, clips as inline WebP films.

write_page   report.json's data and the rows -> an .html file
curves       values over frames or seconds, with their intervals -> SVG
film         clips side by side -> an image tag

Clips are chosen by rule: of split A the two episodes with the student's worst mean PSNR, the two in the middle and the
two best; of every angle of looking away the worst and the best return.
"""

from __future__ import annotations

import base64
import html
import math
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from worldmodel.data.video import save_webp
from worldmodel.evaluation.protocol import Shown
from worldmodel.evaluation.quality import TRAITS, psnr_curve

WIDTH, HEIGHT, LEFT, TOP = 560, 260, 52, 26  # of a chart, pixels; the margins hold its numbers and its title
COLOURS = ("#c0392b", "#2471a3", "#1e8449", "#b9770e", "#7d3c98", "#34495e", "#7f8c8d", "#d35400", "#16a085")
GAP = 4  # pixels between clips
SIDE = ("real", "tokenizer", "student", "student_1_step", "teacher")
SURVIVORS = {  # name of a curve: figures and row that it is of
    "student": ("long", "survival"),
    "real": ("long", "survival_real"),
    "real, astray": ("astray", "survival"),
    "student, piloted": ("piloted", "survival"),
    "real, piloted": ("piloted", "survival_real"),
}
STYLE = """body{font:14px/1.5 system-ui,sans-serif;max-width:1180px;margin:2em auto;padding:0 1em;color:#222}
table{border-collapse:collapse;margin:.6em 0 1.6em}
td,th{padding:.15em .8em;text-align:right;border-bottom:1px solid #ddd}
td:first-child,th:first-child{text-align:left}.pass{color:#1e8449}.FAIL{color:#c0392b;font-weight:bold}.na{color:#888}
svg{margin:0 1em 1em 0}img{image-rendering:pixelated;display:block;margin:.3em 0 1em}small{color:#666}"""

Point = tuple[float, Mapping[str, float | None]]  # x; an Estimate as JSON has it


def write_page(path: Path, data: Mapping[str, Any], shown: Shown, fps: float, text: str) -> None:
    """Write the page. data: what report.json holds; text: the table, whose control and memory stand nowhere else."""
    about, figures = data["about"], data["figures"]
    verdict = {True: "all gates passed", False: "not all gates passed", None: "no gate failed, not all measured"}
    parts = [
        f"<h1>{html.escape(about['name'])}: dream against reality</h1><p><b>{verdict[data['passed']]}</b></p>",
        _gates(data["gates"]), "<h2>Curves</h2>", *_charts(figures), "<h2>Rows, split A</h2>",
        _rows(figures["quality"]["rows"]), "<h2>Splits</h2>", _splits(figures["splits"], about["absent"]),
        *(f"<p>{html.escape(split)}: {html.escape(note)}</p>" for split, note in about["notes"].items()),
        f"<h2>All of it as text</h2><pre>{html.escape(text)}</pre>", "<h2>Clips</h2>", *_clips(shown, fps),
        "<h2>How</h2>",
        f"<p>{html.escape(about['survival'])}</p><p>Intervals are 95 %, by bootstrap over episodes.</p>",
        _table(["", ""], [[key, str(value)] for key, value in about.items() if isinstance(value, str)]),
    ]  # fmt: skip
    title = f"<title>{html.escape(about['name'])}</title>"
    head = f'<!doctype html><html lang="en"><head><meta charset="utf-8">{title}<style>{STYLE}</style></head>'
    path.write_text(head + "<body>" + "\n".join(parts) + "</body></html>\n", encoding="utf-8")


def curves(title: str, unit: str, series: Mapping[str, Sequence[Point]]) -> str:
    """An SVG of lines with bands; points whose value is null are left out. unit: of x."""
    whole = {name: [(x, e) for x, e in points if e["value"] is not None] for name, points in series.items()}
    whole = {name: points for name, points in whole.items() if points}
    if not whole:
        return f"<p><small>{html.escape(title)}: n/a</small></p>"
    xs = [x for points in whole.values() for x, _ in points]
    ys = [float(e["value"] or 0) for points in whole.values() for _, e in points]
    low, high = min(ys), max(ys)
    high = high if high > low else low + 1
    first, last = min(xs), max(max(xs), min(xs) + 1e-9)

    def at(x: float, y: float) -> str:
        across = LEFT + (x - first) / (last - first) * (WIDTH - LEFT - 10)
        down = TOP + (high - min(max(y, low), high)) / (high - low) * (HEIGHT - 2 * TOP)
        return f"{across:.1f},{down:.1f}"

    marks = []
    for i in range(5):
        y = low + (high - low) * i / 4
        line = f'x1="{LEFT}" x2="{WIDTH - 10}" y1="{at(first, y).split(",")[1]}" y2="{at(first, y).split(",")[1]}"'
        marks.append(f'<line {line} stroke="#eee"/><text x="4" y="{at(first, y).split(",")[1]}">{y:.3g}</text>')
        x = first + (last - first) * i / 4
        marks.append(f'<text x="{at(x, low).split(",")[0]}" y="{HEIGHT - 8}">{x:.3g}</text>')
    for i, (name, points) in enumerate(whole.items()):
        colour = COLOURS[i % len(COLOURS)]
        rims = [at(x, rim) for x, e in points if (rim := e.get("high")) is not None]
        rims += [at(x, rim) for x, e in reversed(points) if (rim := e.get("low")) is not None]
        line = " ".join(at(x, float(e["value"] or 0)) for x, e in points)
        marks.append(f'<polygon points="{" ".join(rims)}" fill="{colour}" opacity=".13"/>')
        marks.append(f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="2"/>')
        marks.append(f'<text x="{LEFT + 6 + i % 3 * 170}" y="{TOP + 12 + i // 3 * 14}" fill="{colour}">{name}</text>')
    label = f'<text x="{LEFT}" y="14" font-weight="bold">{html.escape(title)} ({html.escape(unit)})</text>'
    size = f'width="{WIDTH}" height="{HEIGHT}" font-size="11"'
    return f'<svg xmlns="http://www.w3.org/2000/svg" {size}>{label}{"".join(marks)}</svg>'


def film(clips: Sequence[np.ndarray], fps: float) -> str:
    """Clips (T, H, W, 3) of one size, side by side in one moving picture."""
    space = np.full((*clips[0].shape[:2], GAP, 3), 255, np.uint8)
    joined = np.concatenate([part for clip in clips for part in (clip, space)][:-1], 2)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "film.webp"
        save_webp(path, joined, fps)
        text = base64.b64encode(path.read_bytes()).decode()
    return f'<img alt="" src="data:image/webp;base64,{text}">'


def chosen(ours: np.ndarray, real: np.ndarray) -> list[int]:
    """The two worst, two middle and two best episodes by mean PSNR, without repetition, worst first."""
    order = [int(k) for k in np.argsort(psnr_curve(ours, real).mean(1))]
    middle = len(order) // 2
    return list(dict.fromkeys([*order[:2], *order[middle - 1 : middle + 1], *order[-2:]]))


def _gates(gates: Sequence[Mapping[str, Any]]) -> str:
    lines = []
    for gate in gates:
        word = {True: "pass", False: "FAIL", None: "n/a"}[gate["passed"]]
        kind = "na" if gate["passed"] is None else word
        note = "good" if gate["is_good"] else gate["why"] if gate["passed"] is None else ""
        asked = [_number(gate[key]) for key in ("least", "most", "good")]
        lines.append([gate["name"], _value(gate["figure"]), *asked, f'<span class="{kind}">{word}</span>', note])
    return _table(["gate", "value [95 % interval]", "least", "most", "good", "", ""], lines)


def _charts(figures: Mapping[str, Any]) -> list[str]:
    rows = figures["quality"]["rows"]
    names = [name for name in rows if name != "other_episode"]

    def over(table: Mapping[str, Any]) -> list[Point]:
        return [(float(h), e) for h, e in table.items()]

    charts = [
        curves("PSNR, all frames (dB)", "frames", {name: over(rows[name]["psnr"]) for name in names}),
        curves("PSNR, moving frames (dB)", "frames", {name: over(rows[name]["psnr_moving"]) for name in names}),
        curves("skill", "frames", {n: over(rows[n]["skill"]) for n in ("student", "student_1_step", "teacher")
                                   if n in rows}),
        curves("action effect: cost of wrong actions (dB)", "frames",
               {"student": over(figures["quality"]["wrong_action_cost"])}),
    ]  # fmt: skip
    for kind, who in (("long", "dream, recorded"), ("piloted", "dream, piloted"), ("astray", "reality astray")):
        for seconds, traits in figures.get(kind, {}).get("segments", {}).items():
            drift = {name: [(4.0 * i + 2, {"value": v}) for i, v in enumerate(traits[name])] for name in TRAITS}
            charts.append(curves(f"drift: {who} / real, runs of {seconds} s", "seconds", drift))
    alive = {
        who: [(float(t), e) for t, e in figures[kind][row].items() if e]
        for who, (kind, row) in SURVIVORS.items()
        if kind in figures
    }
    if alive:
        charts.append(curves("survival", "seconds", alive))
    if still := figures.get("still", {}).get("psnr"):
        rows = next(iter(still.values()))
        charts.append(curves("standing still (dB)", "seconds",
                             {name: [(float(t), e[name]) for t, e in still.items()] for name in rows}))  # fmt: skip
    return charts


def _rows(rows: Mapping[str, Any]) -> str:
    horizons = list(rows["student"]["psnr"])
    head = ["row", *(f"h={h} all / moving / still" for h in horizons), "sharpness", "motion", "H*"]
    lines = []
    for name, row in rows.items():
        cells = [" / ".join(_short(row[key][h]) for key in ("psnr", "psnr_moving", "psnr_static")) for h in horizons]
        lines.append([name, *cells, _short(row["sharpness"]), _short(row["motion"]), str(row["usable_horizon"])])
    return _table(head, lines)


def _splits(splits: Mapping[str, Any], absent: Mapping[str, str]) -> str:
    lines = []
    for name, part in splits.items():
        cells = [_value(part["gain_moving"]["1"]), _value(part["gain_moving"]["8"]), _value(part["skill"]["1"])]
        counts = [str(part["episodes"]), _short(part["tokenizer"])]
        lines.append([name, *counts, *cells, str(part["usable_horizon"]), _short(part["motion"])])
    lines += [[split, reason, *[""] * 6] for split, reason in absent.items()]
    head = ["split", "episodes", "ceiling (dB)", "gain h=1 (dB)", "gain h=8 (dB)", "skill h=1", "H*", "motion"]
    return _table(head, lines)


def _clips(shown: Shown, fps: float) -> list[str]:
    rows = shown.rows
    side = [name for name in SIDE if name in rows]
    parts = [f"<p>Side by side: {', '.join(side)}. Two worst, two middle, two best by mean PSNR.</p>"]
    for k in chosen(rows["student"], rows["real"]):
        parts.append(f"<small>episode {k}</small>" + film([rows[name][k] for name in side], fps))
    for angle, look in shown.looks.items():
        order = np.argsort(psnr_curve(look["student"], look["real"])[:, -1])
        for k, word in ((int(order[0]), "worst"), (int(order[-1]), "best")):
            clips = film([look["real"][k], look["student"][k]], fps)
            parts.append(f"<small>a look of {angle} degrees, {word} return: real, student</small>{clips}")
    return parts


def _table(head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """Cells are HTML already where they begin with a tag, and escaped otherwise."""
    rows = "".join("<tr>" + "".join(f"<td>{_cell(cell)}</td>" for cell in line) + "</tr>" for line in lines)
    return f"<table><tr>{''.join(f'<th>{html.escape(cell)}</th>' for cell in head)}</tr>{rows}</table>"


def _cell(text: str) -> str:
    return text if text.startswith("<span") else html.escape(text)


def _value(estimate: Mapping[str, Any] | None) -> str:
    if estimate is None or estimate["value"] is None:
        return "n/a"
    return f"{estimate['value']:.3f} [{estimate['low']:.3f}, {estimate['high']:.3f}]"


def _short(estimate: Mapping[str, Any]) -> str:
    return "n/a" if estimate["value"] is None or math.isnan(estimate["value"]) else f"{estimate['value']:.2f}"


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:g}"
