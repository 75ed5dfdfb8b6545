"""A run from a stranger: whatever is in it, nothing is executed, nothing outside is touched, and one line says why."""

import hashlib
import io
import json
import os
import pickle
import shutil
import stat
import struct
import zipfile

import pytest

from vitalsynth import checkpoints
from vitalsynth.cli import main
from vitalsynth.runs import Run
from vitalsynth.runs.record import sealed

TINY = ["--steps", "3", "--batch", "8", "--generator.hidden", "8", "--discriminator.hidden", "8", "--quiet"]
EVIL = "import pathlib\npathlib.Path(__file__).with_name('pwned').touch()\n"


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    path = tmp_path_factory.mktemp("good") / "run"
    assert main(["train", "icu-demo", "--out", str(path), *TINY]) == 0
    return path


@pytest.fixture
def run(good, tmp_path, monkeypatch):
    """A copy that may be tampered with, in a folder where the command is started, with code of the stranger's."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(good, tmp_path / "run")
    (tmp_path / "evil.py").write_text(EVIL + "from vitalsynth import Generator\nclass Boom(Generator): pass\n")
    (tmp_path / "outside.safetensors").write_bytes(b"a secret")
    return tmp_path / "run"


class Exploit:
    """What executes code when it is unpickled; here it is only ever written, to see it refused."""

    def __reduce__(self):
        return os.system, ("touch pwned",)


def reseal(run, change):
    """Change run.json as a stranger would, with right digests."""
    record = Run(run).record
    change(record)
    for name, content in sealed(record, Run(run).preparation.to_json()).items():
        (run / name).write_bytes(content)


def put_tensors(run, content, name="networks.safetensors"):
    """Put bytes in place of tensors, with right digests."""
    folder = run / "checkpoints" / "00000003"
    (folder / "networks.safetensors").write_bytes(content)
    rename_in_state(run, "networks.safetensors", name, content)


def rename_in_state(run, old, new, content):
    file = run / "checkpoints" / "00000003" / "state.json"
    state = json.loads(file.read_text())
    del state["digest"], state["sha256"][old]
    state["sha256"][new] = hashlib.sha256(content).hexdigest()
    file.write_text(json.dumps({**state, "digest": checkpoints._digest(state)}))


def link(place, target):
    def tamper(run):
        path = run / place
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
        path.symlink_to(run.parent / target)

    return tamper


def torch_saved(run):
    import torch

    buffer = io.BytesIO()
    torch.save({"average.x": Exploit()}, buffer)
    put_tensors(run, buffer.getvalue())


def header(claim):
    return struct.pack("<Q", len(claim)) + claim.encode()


def sparse(run):
    with open(run / "checkpoints" / "00000003" / "networks.safetensors", "wb") as file:
        file.truncate(10**12)


def pipe(run):
    file = run / "checkpoints" / "00000003" / "networks.safetensors"
    file.unlink()
    os.mkfifo(file)


def code_of(path):
    return lambda run: reseal(run, lambda r: r["networks"]["generator"].update({"class_path": path, "init_args": {}}))


def oversized(run):
    reseal(run, lambda record: record["networks"]["generator"]["init_args"].update(hidden=10**7))


TENSORS = '{"average.x": {"dtype": "F32", "shape": [250000000000], "data_offsets": [0, 1000000000000]}}'
TAMPERED = {
    "pickle": (lambda run: put_tensors(run, pickle.dumps(Exploit())), "holds no tensors"),
    "torch.save": (torch_saved, "holds no tensors"),
    "climbing path": (
        lambda run: rename_in_state(run, "networks.safetensors", "../../../outside.safetensors", b"a secret"),
        "names '../../../outside.safetensors', which is no file of a checkpoint",
    ),
    "absolute path": (
        lambda run: rename_in_state(run, "networks.safetensors", "/etc/passwd", b""),
        "names '/etc/passwd', which is no file of a checkpoint",
    ),
    "1 TB header": (lambda run: put_tensors(run, struct.pack("<Q", 10**12) + b"{}"), "holds no tensors"),
    "1 TB tensor": (lambda run: put_tensors(run, header(TENSORS) + b"\0" * 64), "holds no tensors"),
    "1 TB file": (sparse, "is damaged: MemoryError"),
    "nested": (lambda run: (run / "run.json").write_text("[" * 200_000), "damaged"),
    "no object": (lambda run: (run / "run.json").write_text("[]"), "damaged"),
    "pipe": (lambda run: (run / "log.jsonl").unlink() or os.mkfifo(run / "log.jsonl"), "neither a file nor a folder"),
    "pipe for tensors": (pipe, "neither a file nor a folder"),
    "link to the log": (link("log.jsonl", "outside.safetensors"), "log.jsonl is a symbolic link"),
    "link to scores": (link("evaluation.jsonl", "outside.safetensors"), "evaluation.jsonl is a symbolic link"),
    "link to the lock": (link(".lock", "outside.safetensors"), ".lock is a symbolic link"),
    "link to checkpoints": (link("checkpoints", "."), "checkpoints is a symbolic link"),
    "link to a checkpoint": (link("checkpoints/00000003", "."), "is a symbolic link"),
    "link to a state": (link("checkpoints/00000003/state.json", "evil.py"), "is a symbolic link"),
    "link to tensors": (link("checkpoints/00000003/networks.safetensors", "outside.safetensors"), "is a symbolic link"),
    "code beside it": (code_of("evil.Boom"), "names code that is not of vitalsynth, evil.Boom"),
    "code of Python": (code_of("os.system"), "names code that is not of vitalsynth, os.system"),
    "no generator": (code_of("torch.optim.Adam"), "torch.optim.Adam is not a Generator"),
    "a function of ours": (code_of("vitalsynth.storage.remove"), "is not a Generator"),
    "oversized": (oversized, "cannot be built as asked"),
}


def assert_unharmed(folder):
    left = {path.name for path in folder.iterdir()} - {"run", "evil.py", "outside.safetensors", "__pycache__"}
    assert not left, left
    assert (folder / "outside.safetensors").read_bytes() == b"a secret"


@pytest.mark.parametrize("name", TAMPERED)
@pytest.mark.parametrize(
    "command", [["sample", "--count", "3", "--out", "x.csv"], ["continue", "--steps", "5", "--quiet"]]
)
def test_a_hostile_run_is_refused_in_one_line(name, command, run, capsys):
    tamper, expected = TAMPERED[name]
    tamper(run)
    assert main([command[0], "run", *command[1:]]) == 2
    said = capsys.readouterr().err
    assert expected in said and said.count("\n") == 1, said
    assert_unharmed(run.parent)


@pytest.mark.parametrize("command", ["continue", "evaluate", "report", "branch"])
@pytest.mark.parametrize("source", ["os.system", "subprocess.getoutput", "evil.main", "vitalsynth.storage.remove"])
def test_a_source_that_is_code_is_refused(command, source, run, capsys):
    settings = {"command": "touch pwned", "cmd": "touch pwned", "folder": "."}
    reseal(run, lambda record: record["data"].update(source=source, settings=settings))
    more = {"continue": ["--steps", "9"], "branch": ["--out", "x"]}.get(command, [])
    assert main([command, "run", *more]) == 2
    said = capsys.readouterr().err
    assert f"names code that is not of vitalsynth, {source}" in said and said.count("\n") == 1, said
    assert_unharmed(run.parent)


def test_settings_of_a_branch_come_from_no_code(run, capsys):
    reseal(run, lambda record: record.update(objective={"class_path": "evil.Boom", "init_args": {}}))
    assert main(["branch", "run", "--out", "x"]) == 2
    assert "names code that is not of vitalsynth, evil.Boom" in capsys.readouterr().err
    assert_unharmed(run.parent)


def test_settings_of_a_part_are_no_code(run, capsys):
    """A class within the settings of a part, which a command line that knows types would import."""
    nested = {"class_path": "evil.Boom", "init_args": {}}
    reseal(run, lambda record: record["optimizers"]["generator"]["init_args"].update(lr=nested))
    assert main(["branch", "run", "--out", "x"]) == 2
    assert "names code that is not of vitalsynth, evil.Boom" in capsys.readouterr().err
    assert_unharmed(run.parent)


@pytest.mark.parametrize("command", ["sample", "continue", "merge", "list", "branch"])
@pytest.mark.parametrize("missing", ["networks", "data", "optimizers", "parent", "shape"])
def test_a_record_that_lacks_something_is_no_traceback(missing, command, run, capsys):
    reseal(run, lambda record: record.pop(missing))
    more = {"sample": ["--count", "3", "--out", "x.csv"], "continue": ["--steps", "3"], "list": []}
    code = main([command, "run", *more.get(command, ["--out", "x"])])
    said = capsys.readouterr().err
    assert said.count("\n") <= 1 and "Traceback" not in said
    assert code == 0 or said.startswith(f"vitalsynth {command}: ")
    shutil.rmtree(run.parent / "x", ignore_errors=True)
    for name in ("x.csv", "x.csv.card.md"):
        (run.parent / name).unlink(missing_ok=True)
    assert_unharmed(run.parent)


def test_a_changed_record_is_noticed(run, capsys):
    file = run / "preparation.json"
    file.write_text(file.read_text().replace('"length": 25', '"length": 26'))
    assert main(["sample", "run", "--count", "3", "--out", "x.csv"]) == 2
    assert "it was changed after it was written" in capsys.readouterr().err
    for merge_or_pack in (["merge", "run", "--out", "x"], ["pack", "run"]):
        assert main(merge_or_pack) == 2
    assert_unharmed(run.parent)


def repack(change):
    """Write a zip whose members and manifest a stranger changed."""

    def write(packed, target):
        with zipfile.ZipFile(packed) as archive:
            members = {name: archive.read(name) for name in archive.namelist()}
        manifest = json.loads(members.pop("manifest.json"))
        infos = change(members, manifest) or {}
        with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, content in {"manifest.json": json.dumps(manifest).encode(), **members}.items():
                archive.writestr(infos.get(name, name), content)

    return write


def adding(name, content=b"import evil"):
    def change(members, manifest):
        members[name] = content
        manifest["files"][name] = {"size": len(content), "sha256": hashlib.sha256(content).hexdigest()}

    return change


def linking(members, manifest):
    info = zipfile.ZipInfo("log.jsonl")
    info.create_system, info.external_attr = 3, (stat.S_IFLNK | 0o777) << 16
    members["log.jsonl"] = b"/etc/passwd"
    manifest["files"]["log.jsonl"] = {"size": 11, "sha256": hashlib.sha256(b"/etc/passwd").hexdigest()}
    return {"log.jsonl": info}


def claiming(name, size):
    return lambda members, manifest: manifest["files"][name].update(size=size)


def bombing(members, manifest):
    members["log.jsonl"] = bytes(300_000_000)


ARCHIVES = {
    "climbing": (repack(adding("../evil.py")), "it holds '../evil.py', which is no file of a run"),
    "climbing within": (repack(adding("checkpoints/00000003/../../../evil.py")), "which is no file of a run"),
    "absolute": (repack(adding("/tmp/evil.py")), "it holds '/tmp/evil.py', which is no file of a run"),
    "backslashes": (repack(adding("samples\\..\\evil.py")), "which is no file of a run"),
    "script": (repack(adding("report.html")), "it holds 'report.html', which is no file of a run"),
    "code": (repack(adding("sitecustomize.py")), "it holds 'sitecustomize.py', which is no file of a run"),
    "link": (repack(linking), "log.jsonl in it is no plain file"),
    "1 TB": (repack(claiming("log.jsonl", 10**12)), "it claims to hold 1.0 TB, and"),
    "bomb": (repack(bombing), "log.jsonl in it is not what its manifest says"),
    "other bytes": (repack(lambda m, _: m.update({"log.jsonl": b"{}\n"})), "is not what its manifest says"),
    "name": (repack(lambda _, manifest: manifest.update(name="../up")), "'../up', which is no name for a folder"),
    "missing": (repack(lambda m, _: m.pop("clock.jsonl") and None), "are not those that its manifest.json lists"),
    "newer": (repack(lambda _, manifest: manifest.update(format=99)), "archive format 99"),
    "no manifest": (lambda packed, target: zipfile.ZipFile(target, "w").close(), "it has no manifest.json"),
    "text": (lambda packed, target: target.write_text("hello"), "is no packed run, or damaged"),
    "torn": (lambda packed, target: target.write_bytes(packed.read_bytes()[:-900]), "is no packed run, or damaged"),
}


@pytest.mark.parametrize("name", ARCHIVES)
def test_a_hostile_archive_is_refused_in_one_line(name, good, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["pack", str(good), "--out", "good.zip"]) == 0
    tamper, expected = ARCHIVES[name]
    tamper(tmp_path / "good.zip", tmp_path / "bad.zip")
    capsys.readouterr()
    assert main(["unpack", "bad.zip"]) == 2
    said = capsys.readouterr().err
    assert expected in said and said.count("\n") == 1, said
    assert {path.name for path in tmp_path.iterdir()} == {"good.zip", "bad.zip"}
    assert not (tmp_path.parent / "evil.py").exists()


def test_a_packed_run_is_the_run_with_no_path_of_the_machine(good, tmp_path, monkeypatch, capsys):
    """The same run makes the same bytes; unpacked, it carries on as the run itself; no place and no host is in it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("platform.node", lambda: "ward-seven-pc")
    table = tmp_path / "stays.csv"
    assert main(["data", "icu-demo", "--out", str(table)]) == 0
    assert main(["train", str(table), "--out", "mine", "--condition", "died", *TINY]) == 0
    assert main(["evaluate", "mine", "--quiet"]) == main(["report", "mine"]) == 0
    assert main(["sample", "mine", "--count", "5", "--quiet"]) == 0
    assert main(["pack", "mine", "--out", "one.zip"]) == main(["pack", "mine", "--out", "two.zip"]) == 0
    assert (tmp_path / "one.zip").read_bytes() == (tmp_path / "two.zip").read_bytes()
    with zipfile.ZipFile("one.zip") as archive:
        everything = b"".join(archive.read(name) for name in archive.namelist())
        assert "samples/00000003-5-seed0.parquet" in archive.namelist()
    for secret in (str(tmp_path), "ward-seven-pc", os.path.expanduser("~") + "/"):
        assert secret.encode() not in everything, secret
    (tmp_path / "there").mkdir()
    monkeypatch.chdir(tmp_path / "there")
    assert main(["unpack", "../one.zip"]) == 0
    assert main(["continue", "mine", "--steps", "6", "--quiet"]) == 2
    assert "stays.csv: no such file" in capsys.readouterr().err
    assert main(["continue", "mine", "--steps", "6", "--quiet", "--data", str(table)]) == 0
    assert main(["continue", "../mine", "--steps", "6", "--quiet"]) == 0
    assert (tmp_path / "mine" / "log.jsonl").read_bytes() == (tmp_path / "there" / "mine" / "log.jsonl").read_bytes()


def test_a_generator_alone_can_be_packed(good, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["pack", str(good), "--generator-only", "--out", "generator.zip"]) == 0
    with zipfile.ZipFile("generator.zip") as archive:
        names = set(archive.namelist())
        assert b"discriminator" not in b"".join(archive.read(name) for name in names)
    files = {"run.json", "preparation.json", "manifest.json"}
    assert names == {*files, *(f"checkpoints/00000003/{name}" for name in ("networks.safetensors", "state.json"))}
    assert main(["unpack", "generator.zip", "--out", "released"]) == 0
    for path, out in ((str(good), "a.csv"), ("released", "b.csv")):
        assert main(["sample", path, "--count", "20", "--out", out, "--quiet"]) == 0
    assert (tmp_path / "a.csv").read_bytes() == (tmp_path / "b.csv").read_bytes()
    capsys.readouterr()
    for command in (["continue", "released", "--steps", "9"], ["evaluate", "released"], ["report", "released"]):
        assert main(command) == 2
        said = capsys.readouterr().err
        assert "holds a generator only" in said and said.count("\n") == 1
