"""What TensorBoard and others are handed, read back by TensorBoard's own reader; and the evolution of a fixed noise."""

import contextlib
import json
import sqlite3
import struct
import threading
import time
import urllib.request
from functools import partial

import numpy as np
import pytest
from PIL import Image
from safetensors.torch import load_file
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams import metadata
from torch.optim import SGD, Adam

from families import cohort
from vitalsynth.autoregressive import Autoregressive
from vitalsynth.cli import main
from vitalsynth.commands.board import board
from vitalsynth.commands.continue_ import continue_
from vitalsynth.commands.evolution import evolution
from vitalsynth.commands.train import train
from vitalsynth.discriminators import Convolutional
from vitalsynth.flows import Flow
from vitalsynth.generators import LSTM
from vitalsynth.objectives import FlowMatching, Likelihood
from vitalsynth.processes import StopFlag
from vitalsynth.runs import Run
from vitalsynth.trackers import Graph, Histogram, Position, records

DATA = cohort()
GAME = {"generator": partial(LSTM, hidden=4), "discriminator": partial(Convolutional, width=4, blocks=1), "batch": 4}
SCORE = {"step": 6, "metric": "coverage", "value": 0.5, "floor": 0.9, "label": None, "time": 1_700_000_000}


def begin(out, steps=6, **more):
    return train(DATA, **{"out": str(out), "steps": steps, "checkpoint_every": 3, "quiet": True, **GAME, **more})


def read(folder):
    """Everything in event files, by TensorBoard's own reader."""
    return EventAccumulator(str(folder), {"scalars": 0, "images": 0, "histograms": 0, "tensors": 0}).Reload()


@pytest.fixture
def run(tmp_path):
    made = begin(tmp_path / "run", generator_optimizer=partial(SGD, lr=0.01, momentum=0.9))
    made.add_evaluations([SCORE])
    return made


def test_every_kind_of_record_is_read_back(run):
    board(str(run.path), no_serve=True)
    events, log = read(run.path / "tensorboard"), run.log()
    assert set(events.Tags()["scalars"]) == {c.replace(".", "/", 1) for c in log.columns if c != "step"}
    found = events.Scalars("generator/adversarial")
    assert [e.step for e in found] == list(log["step"])
    np.testing.assert_allclose([e.value for e in found], log["generator.adversarial"], rtol=1e-6)
    clock = [json.loads(line)["time"] for line in (run.path / "clock.jsonl").read_text().splitlines()]
    assert clock[0] <= found[0].wall_time <= found[-1].wall_time <= clock[-1]

    state = json.loads((run.checkpoint(6) / "state.json").read_text())
    weights = load_file(run.checkpoint(6) / "networks.safetensors")
    for name in (n for names in state["trains"].values() for n in names if weights[n].numel()):
        last = events.Histograms(f"weights/{name}")[-1]
        assert last.step == 6 and last.histogram_value.num == weights[name].numel()
        assert last.histogram_value.sum == pytest.approx(float(weights[name].double().sum()), abs=1e-5)
    momenta = load_file(run.checkpoint(6) / "optimizers.safetensors")
    first = next(iter(n for n in state["trains"]["generator"]))
    gradient = events.Histograms(f"gradients/{first}")[-1].histogram_value
    assert gradient.sum == pytest.approx(float(momenta["generator.0.momentum_buffer"].double().sum()), abs=1e-5)
    assert any(tag.startswith("gradients/discriminator.") for tag in events.Tags()["histograms"])

    for view in ("signals", "heat-map"):
        pictures = events.Images(f"samples/{view}")
        assert [e.step for e in pictures] == [3, 6] and pictures[0].encoded_image_string.startswith(b"\x89PNG")
        assert pictures[0].encoded_image_string != pictures[1].encoded_image_string
    assert {"generator", "discriminator"} <= {p for n in events.Graph().node for p in _names(n.name)}

    scores = read(run.path / "tensorboard" / "scores")
    assert [(e.step, e.value) for e in scores.Scalars("scores/coverage")] == [(6, 0.5)]
    assert scores.Scalars("floors/coverage")[0].value == pytest.approx(0.9)
    content = scores.PluginTagToContent(metadata.PLUGIN_NAME)[metadata.SESSION_START_INFO_TAG]
    asked = metadata.parse_session_start_info_plugin_data(content).hparams
    assert asked["generator"].string_value == "LSTM" and asked["generator.hidden"].number_value == 4
    assert asked["generator_optimizer.lr"].number_value == 0.01


def _names(node):
    return [part.partition("[")[2].rstrip("]") for part in node.split("/")]


def test_only_what_is_new_is_written(run):
    board(str(run.path), no_serve=True)
    files = sorted((run.path / "tensorboard").iterdir())
    board(str(run.path), no_serve=True)
    assert sorted((run.path / "tensorboard").iterdir()) == files
    continue_(str(run.path), steps=9, quiet=True, data=DATA)
    board(str(run.path), no_serve=True)
    events = read(run.path / "tensorboard")
    assert [e.step for e in events.Scalars("generator/adversarial")] == list(range(1, 10))
    assert [e.step for e in events.Images("samples/signals")] == [3, 6, 9]


def test_what_a_writer_that_died_had_written_is_not_there_twice(run):
    board(str(run.path), no_serve=True)
    noted = run.path / "tensorboard" / "exported.json"
    position = json.loads(noted.read_text())
    noted.write_text(json.dumps({**position, "rows": 3, "checkpoints": [3]}))  # as if it had died before its last note
    board(str(run.path), no_serve=True)
    events = read(run.path / "tensorboard")
    assert [e.step for e in events.Scalars("generator/adversarial")] == list(range(1, 7))
    assert [e.step for e in events.Images("samples/signals")] == [3, 6]


def test_keys_that_are_in_some_rows_only_and_have_odd_names_are_kept(run):
    rows = [{"step": 7, "similarity.mmd[died=1]": 0.25}, {"step": 8, "gradients.generator.rnn.0.norm": 2.0}]
    with (run.path / "log.jsonl").open("a") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)
        file.write('{"step": 9, "torn')
    board(str(run.path), no_serve=True)
    events = read(run.path / "tensorboard")
    assert [(e.step, e.value) for e in events.Scalars("similarity/mmd[died=1]")] == [(7, 0.25)]
    assert [(e.step, e.value) for e in events.Scalars("gradients/generator.rnn.0.norm")] == [(8, 2.0)]


@pytest.mark.parametrize(
    ("generator", "objective"),
    [
        (partial(Autoregressive, hidden=4, head=4), Likelihood),
        (partial(Flow, hidden=8, blocks=1, heads=2), FlowMatching),
    ],
)
def test_learners_of_one_player_have_a_graph_and_gradients(tmp_path, generator, objective):
    adam = partial(Adam, lr=1e-3)
    made = begin(tmp_path / "r", generator=generator, discriminator=None, objective=objective, generator_optimizer=adam)
    found = list(records(made, Position()))
    assert sum(isinstance(each, Graph) for each in found) == 1
    assert {each.name.split(".")[0] for each in found if isinstance(each, Histogram)} == {"weights", "gradients"}
    board(str(made.path), no_serve=True)
    assert len(read(made.path / "tensorboard").Graph().node) > 20


def test_the_page_is_for_this_machine_follows_and_stops(run, capsys, monkeypatch):
    """While it is shown, what is trained on is written; then the signal that Ctrl-C sends ends it."""
    monkeypatch.setattr("vitalsynth.commands.board.INTERVAL", 0.2)
    flags = []
    monkeypatch.setattr("vitalsynth.commands.board.StopFlag", lambda: flags.append(StopFlag()) or flags[0])
    shown = threading.Thread(target=board, args=(str(run.path),), kwargs={"follow": True}, daemon=True)
    shown.start()
    said = ""
    for _ in range(600):
        said += capsys.readouterr().err
        if "http" in said:
            break
        time.sleep(0.1)
    url = said.split("TensorBoard is at ")[1].split()[0]
    assert url.startswith("http://127.0.0.1:")
    continue_(str(run.path), steps=9, quiet=True, data=DATA)
    for _ in range(300):
        tags = json.load(urllib.request.urlopen(f"{url}data/plugin/scalars/tags"))
        if "run" in tags and json.loads((run.path / "tensorboard" / "exported.json").read_text())["rows"] == 9:
            break
        time.sleep(0.1)
    assert "generator/adversarial" in tags["run"] and "scores/coverage" in tags["run/scores"]
    assert json.loads((run.path / "tensorboard" / "exported.json").read_text())["rows"] == 9
    flags[0].raised = True
    shown.join(timeout=30)
    assert not shown.is_alive()
    with pytest.raises(OSError, match="refused"):
        urllib.request.urlopen(url)


def test_mistakes_of_a_user_are_one_line(run, tmp_path, capsys):
    assert main(["board", str(tmp_path / "nothing")]) == 2
    assert main(["pack", str(run.path), "--generator_only", "--out", str(tmp_path / "g.zip")]) == 0
    assert main(["unpack", str(tmp_path / "g.zip"), "--out", str(tmp_path / "g")]) == 0
    assert main(["board", str(tmp_path / "g"), "--no_serve"]) == 2
    assert "holds a generator only" in capsys.readouterr().err


def test_mlflow_is_told_the_numbers_and_settings(run, tmp_path, monkeypatch):
    mlflow = pytest.importorskip("mlflow", reason="MLflow is not installed; nothing of ours needs it")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", (tmp_path / "store").as_uri())
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    for _ in range(2):
        board(str(run.path), to="mlflow")
    client = mlflow.MlflowClient()
    (told,) = client.search_runs([client.get_experiment_by_name("vitalsynth").experiment_id])
    history = client.get_metric_history(told.info.run_id, "generator.adversarial")
    np.testing.assert_allclose([m.value for m in history], run.log()["generator.adversarial"])
    assert [m.step for m in history] == list(range(1, 7)) and told.data.params["generator.hidden"] == "4"
    assert client.list_artifacts(told.info.run_id, "images")


def test_wandb_is_told_the_numbers_settings_and_histograms(run, tmp_path, monkeypatch):
    pytest.importorskip("wandb", reason="W&B is not installed; nothing of ours needs it")
    protocol = pytest.importorskip("wandb.proto.wandb_internal_pb2")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    board(str(run.path), to="wandb")
    (file,) = run.path.glob("wandb/offline-*/*.wandb")
    records = [protocol.Record.FromString(part) for part in written_by_wandb(file.read_bytes())]
    (about,) = [record.run for record in records if record.HasField("run")]
    assert {item.key: item.value_json for item in about.config.update}["generator.hidden"] == "4"
    rows = [
        {item.key or "/".join(item.nested_key): item.value_json for item in record.history.item}
        for record in records
        if record.HasField("history")
    ]
    told = [(int(row["step"]), float(row["generator.adversarial"])) for row in rows if "generator.adversarial" in row]
    np.testing.assert_allclose(told, run.log()[["step", "generator.adversarial"]].to_numpy(), rtol=1e-6)
    kinds = {value for row in rows for name, value in row.items() if name.endswith("/_type")}
    assert kinds == {'"histogram"', '"image-file"'}


def written_by_wandb(content):
    """Split the log that W&B writes into its records (that of LevelDB: blocks of 32 KiB, parts with 7 bytes ahead)."""
    place, record = 7, b""
    while place < len(content):
        left = 32768 - place % 32768
        if left < 7:
            place += left
            continue
        _, size, kind = struct.unpack("<IHB", content[place : place + 7])
        record, place = record + content[place + 7 : place + 7 + size], place + 7 + size
        if kind in (1, 4):  # whole, or the last part
            yield record
            record = b""


def test_trackio_is_told_the_numbers_at_their_steps(run, tmp_path, monkeypatch):
    monkeypatch.setenv("TRACKIO_DIR", str(tmp_path))
    pytest.importorskip("trackio", reason="trackio is not installed; nothing of ours needs it")
    board(str(run.path), to="trackio")
    (file,) = tmp_path.glob("vitalsynth*.db")
    with contextlib.closing(sqlite3.connect(file)) as base:
        rows = [(step, json.loads(told)) for step, told in base.execute("select step, metrics from metrics")]
    told = sorted((step, row["generator.adversarial"]) for step, row in rows if "generator.adversarial" in row)
    np.testing.assert_allclose(told, run.log()[["step", "generator.adversarial"]].to_numpy(), rtol=1e-6)


# -- evolution


@pytest.mark.parametrize("ending", ["gif", "webp"])
def test_an_evolution_has_a_frame_a_checkpoint_with_its_progress(tmp_path, ending):
    made = begin(tmp_path / "run")
    (file,) = evolution(str(made.path), out=str(tmp_path / f"{{run}}.{ending}"), quiet=True)
    moving = Image.open(file)
    assert file.name == f"run.{ending}" and moving.n_frames == 2
    widths = []
    for frame in range(2):
        moving.seek(frame)
        bar = np.asarray(moving.convert("RGB"), dtype=int)[21]  # through the bar
        widths.append((np.abs(bar - [0xD5, 0x5E, 0x00]).max(axis=1) < 40).mean())
    assert widths == pytest.approx([0.5, 1.0], abs=0.02)


def test_the_noise_is_the_same_at_every_checkpoint(tmp_path):
    """A generator that does not move draws the same picture, but for the progress bar."""
    made = begin(tmp_path / "run", generator_optimizer=partial(SGD, lr=0.0), average=0.0)
    for view in ("signals", "heat-map"):
        (file,) = evolution(str(made.path), out=str(tmp_path / f"{view}.png"), view=view, quiet=True)
        first, second = np.array_split(np.asarray(Image.open(file).convert("L"), dtype=int), 2)
        assert (first[26 : len(second) - 8] == second[30:-4]).all() and first[26:].std() > 5


def test_images_move_too_and_a_strip_stands(tmp_path):
    made = train("digits", **{"out": str(tmp_path / "d"), "steps": 2, "checkpoint_every": 1, "quiet": True, **GAME})
    (strip,) = evolution(str(made.path), out=str(tmp_path / "d.png"), quiet=True)
    (moving,) = evolution(str(made.path), out=str(tmp_path / "d.gif"), quiet=True)
    one = Image.open(moving).size
    assert Image.open(strip).size == (2 * one[0] + 8, one[1])


def test_what_an_evolution_cannot_be_is_one_line(tmp_path, capsys):
    made = begin(tmp_path / "run", steps=2)
    for words, expected in (
        (["--out", "e.mp4"], "a moving picture is a .gif or .webp"),
        (["--out", "e.gif", "--view", "images"], "signals"),
        (["--out", "e.gif"], "needs at least 2"),
    ):
        assert main(["evolution", str(made.path), "--quiet", *words]) == 2
        assert expected in capsys.readouterr().err


def test_asked_is_flat(tmp_path):
    asked = Run(begin(tmp_path / "run", condition="died").path).asked()
    assert asked["generator"] == "LSTM" and asked["condition"] == '["died"]' and asked["batch"] == 4
    assert all(isinstance(value, bool | int | float | str) for value in asked.values())


def test_trials_are_called_by_what_sets_them_apart(tmp_path, monkeypatch):
    """On the page, too, not 0000 and 0001."""
    shown = []

    @contextlib.contextmanager
    def serving(named, port):
        shown.extend(named)
        yield "nowhere"

    monkeypatch.setattr("vitalsynth.trackers.tensorboard.serving", serving)
    swept = ["train", "icu-demo", "--steps", "2", "--batch", "4,8", "--generator.hidden", "4", "--seed", "0..1"]
    assert main(["sweep", "--quiet", "--score", "", *swept, "--out", str(tmp_path / "sweep")]) == 0
    monkeypatch.setattr(StopFlag, "raised", property(lambda flag: True, lambda flag, value: None), raising=False)
    assert main(["board", str(tmp_path / "sweep" / "trials" / "*")]) == 0
    assert sorted(shown) == [f"batch {batch}, seed {seed}" for batch in (4, 8) for seed in (0, 1)]
