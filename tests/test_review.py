"""The crowd: a round by real mail servers, letters sent exactly once, a page that is safe, and models with sources."""

import hashlib
import io
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections import Counter
from contextlib import contextmanager
from email import message_from_bytes, policy
from functools import partial
from pathlib import Path

import choix
import krippendorff
import numpy as np
import pytest
from PIL import Image
from scipy.special import expit

import clients
import imap
import smtp
from families import SMALL
from vitalsynth import mail
from vitalsynth.cli import main
from vitalsynth.commands import review_create as creating
from vitalsynth.commands.train import train
from vitalsynth.generators import LSTM
from vitalsynth.mail import replies
from vitalsynth.monitoring.similarity import Similarity
from vitalsynth.reviewing import asking, fitting, posting
from vitalsynth.reviewing.people import People
from vitalsynth.reviewing.results import Results
from vitalsynth.reviewing.review import REAL, SPOILT, Ballot, Review
from vitalsynth.reviewing.serving import LARGEST, server
from vitalsynth.reviewing.writing import MARKER, answers, questions

MODELS = ["stork", "heron", "crane", "swift"]
"""Names of the runs, best first; nobody who is asked may come to know them."""
TASTE = dict(zip(["real", *MODELS, "spoilt"], [0.0, -1.0, -2.2, -3.4, -4.6, -9.0], strict=True))


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    small = {**SMALL, "source": {"count": 120, "length": 12}, "similarity": Similarity(every=0), "gradients": 0}
    for k, name in enumerate(MODELS):
        small["generator"] = partial(LSTM, hidden=3 + k)
        run = train("sines", out=str(folder / name), steps=2, held_out=0.5, **small)
        figures = {"floor": 0.1, "floor_low": None, "floor_high": None, "low": None, "high": None, "baseline": None}
        row = {"step": 2, "label": None, "part": "fidelity", "about": "", **figures}
        agrees = {**row, "metric": "sees it", "value": 0.1 + 0.1 * k, "better": "near floor"}
        blind = {**row, "metric": "sees it not", "value": [0.3, 0.1, 0.4, 0.2][k], "better": "higher"}
        run.add_evaluations([agrees, blind])
    return folder


@pytest.fixture
def private(tmp_path, monkeypatch):
    monkeypatch.setenv("VITALSYNTH_PRIVATE", str(tmp_path / "private"))
    monkeypatch.chdir(tmp_path)
    return tmp_path / "private"


def made(count, pairs=6, singles=2, ratings=2, planted=4, per_mail=16):
    """Make a review with pictures of one pixel, but else like any."""
    rng, pictures = np.random.default_rng(0), {}
    names = {key: [f"{rng.bytes(8).hex()}.png" for _ in range(3)] for key in (REAL, SPOILT, *MODELS)}
    for k, name in enumerate(name for mine in names.values() for name in mine):
        file = io.BytesIO()
        Image.new("RGB", (1, 1), (k, 0, 0)).save(file, "png")
        pictures[name] = file.getvalue()
    wanted = asking.Wanted(pairs, singles, ratings, planted, True, per_mail)
    items, letters = asking.assigned(asking.pool(names, rng), count, wanted, rng)
    contestants = {key: {"name": key, "runs": []} for key in names}
    about = {"until": time.time() + 3600, "data": "digest", "contestants": contestants}
    review = Review.create(Path("review"), items, letters, pictures, **about)
    return People.create(review, [f"r{k}@ward.example" for k in range(count)])


def create(runs, count, *words, out="review"):
    """Make a review of all runs, from the command line."""
    Path("people.csv").write_text("name,Email\n" + "".join(f"N{k},r{k}@ward.example\n" for k in range(count)))
    paths = [str(runs / name) for name in MODELS]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(creating, "PICTURES", 3)
        assert (
            main(["review", "create", *paths, "--to", "people.csv", "--out", out, "--quiet", "--channels", "1", *words])
            == 0
        )
    return People(Review(out))


@contextmanager
def servers(tmp_path, monkeypatch):
    """Real servers for mail that goes and mail that comes; what is sent to ourselves comes."""
    with imap.running() as postbox, smtp.running(tmp_path, "plain") as (mailbox, settings):
        smtp.environment(monkeypatch, settings)
        imap.environment(monkeypatch, postbox.settings)
        mailbox.taken = lambda content, to: postbox.put(content) if settings["from"] in to else None
        yield mailbox, postbox


class Eye:
    """Somebody who sees pictures as they arrive, with a taste, and nothing else.

    Args:
        review: Whose pictures they are.
        seed: Of chance.
    """

    def __init__(self, review, seed):
        self.rng = np.random.default_rng(seed)
        names = {key: about["name"] for key, about in review.record["contestants"].items()}
        pairs = [
            (file, names[key]) for item in review.items for file, key in zip(item.pictures, item.whose, strict=True)
        ]
        self.whose = {hashlib.sha256(review.picture(file)).digest(): TASTE[name] for file, name in pairs}
        assert len(self.whose) == len({file for file, _ in pairs}), "pictures of two contestants look the same"

    def answers(self, message):
        """Yield a line for each question of a letter that can be answered."""
        text, _, pictures = smtp.parts(message)
        seen = {
            name.removeprefix("picture-"): self.whose[hashlib.sha256(png).digest()] for name, png in pictures.items()
        }
        for number, asked in re.findall(r"^(\d+)\. (.+)$", text, re.MULTILINE):
            if asked.startswith("Which"):
                better = self.rng.random() < expit(seen[f"{number}A"] - seen[f"{number}B"])
                yield f"{number} {'A' if better else 'B'}"
            elif asked.startswith("Is this"):
                yield f"{number} {'real' if self.rng.random() < expit(2 + seen[number]) else 'generated'}"
            elif asked.startswith("How real"):
                yield f"{number} {round(np.clip(5 + seen[number] + self.rng.normal() / 2, 1, 5))}"

    def guesses(self, message):
        """The same of somebody who does not look."""
        text, _, _ = smtp.parts(message)
        for number, asked in re.findall(r"^(\d+)\. (.+)$", text, re.MULTILINE):
            kinds = {"Which": "AB", "Is": ("real", "generated"), "How": "12345"}
            if choices := kinds.get(asked.split()[0]):
                yield f"{number} {self.rng.choice(list(choices))}"


def results(path="review", **settings):
    return Results([Review(path)], **settings)


def test_a_round_by_mail(runs, private, tmp_path, monkeypatch, capsys):
    """30 who look, 4 who do not, and 4 who wish us ill, through real servers, blind."""
    people = create(runs, 38, "--channels", "4")
    with servers(tmp_path, monkeypatch) as (mailbox, postbox):
        assert main(["review", "send", "review", "--per-minute", "0", "--quiet"]) == 0
        letters = {to[0]: message for message, to, _ in mailbox.messages}
        assert len(letters) == len(mailbox.messages) == 38
        for message in letters.values():
            everything = message.as_bytes().lower() + b"".join(smtp.parts(message)[2].values()).lower()
            assert not any(name.encode() in everything for name in [*MODELS, "spoilt", str(runs)])
        styles = list(clients.STYLES.values())
        for k in range(34):
            eye, message = Eye(people.review, k), letters[f"r{k}@ward.example"]
            said = "\n".join(eye.guesses(message) if k >= 30 else eye.answers(message))
            postbox.put(styles[k % len(styles)](message, f"r{k}@ward.example", f"{said}\nComment: seen by {k}\n"))
        assert main(["review", "collect", "review"]) == 0
        assert "34 replies" in capsys.readouterr().err
        assert len(postbox.flags()) == 72 and not any("\\Seen" in flags for flags in postbox.flags())
        before = results()
        votes = list(people.review.votes())
        assert len(votes) == 34 * 19 - 2  # who fills the form in makes no comment
        assert main(["review", "collect", "review"]) == 0  # nothing is new
        for content in hostile(people, letters):
            postbox.put(content)
        assert main(["review", "collect", "review"]) == 0
        said = capsys.readouterr().err
        assert "0 replies, 0 votes\n" in said and "2 replies, 1 votes, 2 forged, 1 silent\n" in said
        (people.path / "inbox.json").unlink()
        assert main(["review", "collect", "review"]) == 0  # all is read again
    after = results()
    added = after.votes.iloc[len(votes) :]
    assert list(added["answer"]) == ["<script>alert(1)</script>"]
    for name in ("contestants", "metrics"):
        assert getattr(before, name).equals(getattr(after, name))
    check_results(after)


def hostile(people, letters):
    """A forged token, and one of another reviewer; a replay with other answers; a script; 10 MB of nothing."""
    answering = clients.gmail
    worst = "\n".join(f"{k} A\n{k} generated\n{k} 1" for k in range(1, 20))
    token = people.token(34, 0)
    forged = answering(letters["r34@ward.example"], "eve@evil.example", worst)
    yield forged.replace(token.encode(), (token[:-26] + "a" * 26).encode())
    yield forged.replace(token.encode(), token.replace("-34-", "-12-").encode())
    yield answering(letters["r5@ward.example"], "r5@ward.example", worst)  # who has answered already
    yield answering(letters["r36@ward.example"], "r36@ward.example", "comment: <script>alert(1)</script>")
    yield answering(letters["r37@ward.example"], "r37@ward.example", ("x" * 70 + "\n") * 150_000 + worst)


def check_results(found):
    """The true ranking, the careless and no others, intervals that hold the truth, and the metric that sees it."""
    table = found.contestants.set_index("name")
    assert list(table.index) == ["real", *MODELS]
    careless = found.people.loc[found.people["careless"], "reviewer"]
    assert set(careless) == {30, 31, 32, 33}
    for name in MODELS:
        assert table["strength_low"][name] < TASTE[name] < table["strength_high"][name]
        assert table["taken_low"][name] < expit(2 + TASTE[name]) < table["taken_high"][name]
    assert table["rating"].is_monotonic_decreasing
    assert all(0.2 < value < 1 for value in found.agreement.values())
    assert list(found.metrics["metric"]) == ["sees it", "sees it not"]
    assert found.metrics["rho"][0] == 1.0 and abs(found.metrics["rho"][1]) < 0.7
    places = [f"out.{form}" for form in ("json", "html", "csv", "parquet", "png")]
    assert main(["review", "results", "review", "--out", ",".join(places)]) == 0
    told = json.loads(Path("out.json").read_text())
    assert [row["name"] for row in told["contestants"]] == ["real", *MODELS] and len(told["comments"]) == 33
    page = Path("out.html").read_text()
    assert "&lt;script&gt;alert(1)" in page and "<script" not in page
    assert Image.open("out.png").size > (800, 200)
    everybody = Results(found.reviews, everybody=True)
    assert len(everybody.counted) > len(found.counted)


def test_nothing_of_people_is_in_a_review_and_they_can_be_erased(private):
    people = made(3)
    people.review.cast([Ballot(0, 0, {people.review.letter(0, 0)[-1]: "fine"}, "mail", time.time())])
    folder, there = people.path, b"".join(file.read_bytes() for file in Path("review").rglob("*") if file.is_file())
    assert b"ward.example" not in there and b"N0" not in there
    assert folder.stat().st_mode & 0o077 == 0 and b"r0@ward.example" in (folder / "people.json").read_bytes()
    token = people.token(1, 0)
    assert main(["review", "forget", "review", "--address", "r1@ward.example"]) == 0
    assert b"r1@" not in (folder / "people.json").read_bytes() and people.token(1, 0) == token
    assert main(["review", "forget", "review", "--address", "r1@ward.example"]) == 2
    assert main(["review", "forget", "review"]) == 0
    assert not folder.exists() and len(results().votes) == 1
    for words in (["send"], ["collect"], ["serve"], ["forget"]):
        assert main(["review", *words, "review"]) == 2


def test_pictures_tell_nothing_but_what_they_show(runs, private):
    review = create(runs, 2).review
    pictures = [Image.open(file) for file in Path("review/pictures").iterdir()]
    assert len({picture.size for picture in pictures}) == 1 and not any(picture.info for picture in pictures)
    assert all(re.fullmatch(r"[0-9a-f]{16}\.png", file.name) for file in Path("review/pictures").iterdir())
    assert {item.planted for item in review.items if SPOILT in item.whose} == {"A", "B", "generated"}
    assert not any(item.planted for item in review.items if SPOILT not in item.whose)


def test_everybody_is_asked_about_everything_equally_often():
    rng = np.random.default_rng(0)
    pictures = {key: [f"{key}{k}" for k in range(4)] for key in (REAL, SPOILT, "a", "b", "c")}
    items = asking.pool(pictures, rng)
    wanted = asking.Wanted(pairs=5, singles=2, ratings=1, planted=3, comment=True, per_mail=4)
    every, letters = asking.assigned(items, 24, wanted, rng)
    asked = [[k for part in mine for k in part] for mine in letters]
    assert all(len(set(mine)) == len(mine) == 5 + 2 + 1 + 3 + 3 for mine in asked)
    assert all(len(part) <= 5 and every[part[-1]].kind == "comment" for mine in letters for part in mine)
    uses = Counter(k for mine in asked for k in mine)
    for kind in ("pair", "single", "rating"):
        counts = [uses[k] for k, item in enumerate(every) if item.kind == kind and not item.planted]
        assert max(counts) - min(counts) <= 1
    with pytest.raises(ValueError, match="--pairs 99 is more than there are: 12"):
        asking.assigned(items, 1, asking.Wanted(99, 0, 0, 0, False, 4), rng)


LAUNCHER = """
import os, sys
sys.path.insert(0, os.getcwd())
from vitalsynth.cli import main
import vitalsynth.commands.review_send, vitalsynth.commands.interface, imap_tools
print("ready", flush=True)
for line in sys.stdin:
    pid = os.fork()
    if not pid:
        sys.stdout = sys.stderr
        os._exit(main(line.split()))
    print(pid, flush=True)
    print(os.waitpid(pid, 0)[1], flush=True)
"""


class Sender:
    """`review send` in a process of its own, as often as one likes: it has imported everything, and forks."""

    def __enter__(self):
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        self.process = subprocess.Popen([sys.executable, "-c", LAUNCHER], **pipes)
        assert self.process.stdout.readline() == "ready\n"
        return self

    def start(self, words):
        self.process.stdin.write(words + "\n")
        self.process.stdin.flush()
        self.pid = int(self.process.stdout.readline())

    def wait(self):
        return int(self.process.stdout.readline())

    def __exit__(self, *_):
        self.process.stdin.close()
        self.process.wait()


def test_whenever_it_is_killed_each_letter_is_sent_once(private, tmp_path, monkeypatch):
    """Killed at the server's worst moments, before and after it takes a letter, and at any other."""
    people = made(12, per_mail=8)
    rng = np.random.default_rng(0)
    where = Counter()
    with servers(tmp_path, monkeypatch) as (mailbox, _), Sender() as sender:
        copy = mailbox.taken

        def perhaps(moment):
            if rng.random() < 0.25:
                where[moment] += 1
                os.kill(sender.pid, signal.SIGKILL)
                return True
            return False

        mailbox.taking = lambda content, to: "451 not now" if perhaps("before") else None
        mailbox.taken = lambda content, to: (copy(content, to), perhaps("after"))
        for _ in range(200):
            sender.start("review send review --per-minute 0 --patience 0.2 --quiet")
            if rng.random() < 0.3:
                where["any"] += 1
                time.sleep(rng.uniform(0, 0.3))
                os.kill(sender.pid, signal.SIGKILL)
            if sender.wait() == 0:
                break
    letters = sum(people.review.letters(k) for k in range(12))
    sent = Counter(message["Message-ID"] for message, _, _ in mailbox.messages)
    assert letters == 24 and len(sent) == 24 and set(sent.values()) == {1}
    assert min(where["before"], where["after"], where["any"]) > 2, where
    items = {k: Counter() for k in range(12)}
    for message, _, _ in mailbox.messages:
        reviewer, letter = people.whose(message["Message-ID"].strip("<>").partition("@")[0])
        items[reviewer].update(people.review.letter(reviewer, letter))
    assert all(set(counts.values()) == {1} and len(counts) == 14 + 2 for counts in items.values())


def post(people, settings, inbox=None, **about):
    said = []
    inbox = inbox and mail.Settings.of(inbox, "the test", "imap")
    sending = posting.Post(people, mail.Settings.of(settings, "the test"), inbox, say=said.append, **about)
    return sending, said


def test_servers_that_refuse_are_busy_or_break_off(private, tmp_path, monkeypatch):
    people = made(5)
    monkeypatch.setattr(posting, "PAUSES", (0.01, 0.02))
    people.leave(4)
    with smtp.running(tmp_path, "plain") as (mailbox, settings):
        mailbox.refused = {"r0@ward.example": "550 no such user", "r1@ward.example": ["450 later"] * 2}
        mailbox.answers = ["452 full", "554 spam"]
        sending, said = post(people, settings)
        assert sending.send()
    to = [to[0] for _, to, _ in mailbox.messages]
    assert sorted(to) in (["r1@ward.example", "r2@ward.example"], ["r1@ward.example", "r3@ward.example"])
    state = posting.Journal(people.path / "journal.jsonl").state
    assert Counter(state.values()) == {"taken": 2, "refused": 2} and (4, 0) not in state
    assert "ward.example" not in (people.path / "journal.jsonl").read_text()
    assert any("550" in line for line in said) and any("452" in line for line in said)


def test_without_a_mailbox_somebody_has_to_say_what_becomes_of_a_letter(private, tmp_path):
    people = made(1)
    journal = posting.Journal(people.path / "journal.jsonl")
    journal.note((0, 0), "begun")
    journal.close()
    with smtp.running(tmp_path, "plain") as (mailbox, settings):
        with pytest.raises(ValueError, match="--unsure again sends it again, --unsure skip does not"):
            post(people, settings)[0].send()
        assert post(people, settings, unsure="skip")[0].send() and not mailbox.messages
        journal = posting.Journal(people.path / "journal.jsonl")
        journal.note((0, 0), "begun")
        assert post(people, settings, unsure="again")[0].send() and len(mailbox.messages) == 1


@contextmanager
def served(people):
    page = server(people, "127.0.0.1", 0)
    thread = threading.Thread(target=page.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{page.server_port}"
    finally:
        page.shutdown()
        thread.join()
        page.server_close()


def ask(url, form=None):
    """Return the status, the headers and the content that an address gives."""
    data = None if form is None else urllib.parse.urlencode(form).encode()
    try:
        with urllib.request.urlopen(urllib.request.Request(url, data)) as answer:
            return answer.status, answer.headers, answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.headers, error.read()


def test_the_page(private):
    people = made(2, pairs=3, singles=0, ratings=0, planted=0)
    token, review = people.token(0, 0), people.review
    with served(people) as at:
        status, headers, page = ask(f"{at}/{token}")
        assert status == 200 and b"<script" not in page and headers["Set-Cookie"] is None
        assert (
            "default-src 'none'" in headers["Content-Security-Policy"] and headers["Referrer-Policy"] == "no-referrer"
        )
        assert not any(name.encode() in page for name in MODELS)
        for place in re.findall(rb'src="(/.+?)"', page):
            assert ask(at + place.decode())[2].startswith(b"\x89PNG")
        other = review.items[review.letter(1, 0)[0]].pictures[0]
        mine = [file for item in review.letter(0, 0) for file in review.items[item].pictures]
        assert other in mine or ask(f"{at}/{token}/{other}")[0] == 404
        assert ask(f"{at}/{token}?q1=A")[0] == 200 and not review.votes()
        _, _, page = ask(f"{at}/{token}", {"q1": "A", "q2": "C", "q4": "<script>alert(1)</script>", "q9": "A"})
        assert b"Thank you" in page and b"&lt;script&gt;" in page and b"<script" not in page
        ask(f"{at}/{token}", {"q1": "B", "q3": "B"})
        said = {review.letter(0, 0).index(vote["item"]) + 1: vote["answer"] for vote in review.votes()}
        assert said == {1: "A", 4: "<script>alert(1)</script>", 3: "B"}
        for wrong in (token[:-1] + ("a" if token[-1] != "a" else "b"), token.replace("-0-", "-1-", 1), "x", ""):
            assert ask(f"{at}/{wrong}")[0] == ask(f"{at}/{wrong}", {"q2": "A"})[0] == 404
        assert ask(f"{at}/{token}", {"q2": "A" * LARGEST})[0] == 413
        assert ask(f"{at}/leave/{token}")[0] == 200 and not people.left
        assert ask(f"{at}/leave/{token}", {"List-Unsubscribe": "One-Click"})[0] == 200 and people.left == {0}
        assert len(review.votes()) == 3
        review.record["until"] = 0
        assert ask(f"{at}/{token}")[0] == 410
        ask(f"{at}/{token}", {"q2": "A"})
        assert len(review.votes()) == 3


def test_letters_that_end_with_links_and_unsubscribing_by_mail(private, tmp_path, monkeypatch):
    people = made(2)
    with servers(tmp_path, monkeypatch) as (mailbox, postbox):
        words = ["--page", "https://crowd.example/", "--words-only", "--per-minute", "0", "--quiet"]
        assert main(["review", "send", "review", *words]) == 0
        message = next(message for message, to, _ in mailbox.messages if to[0] == "r0@ward.example")
        text, page, pictures = smtp.parts(message)
        link = f"https://crowd.example/{people.token(0, 0)}"
        assert not pictures and link in text.splitlines() and f'href="{link}"' in page
        assert "mailto:vitalsynth@ward.example" in message["List-Unsubscribe"]
        assert message["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
        postbox.put(clients.gmail(message, "r0@ward.example", "Unsubscribe."))
        assert main(["review", "collect", "review", "--quiet"]) == 0
        assert people.left == {0} and not people.review.votes()


def test_answers_that_come_too_late_do_not_count(private):
    review = made(1).review
    item = review.letter(0, 0)[-1]
    assert review.cast([Ballot(0, 0, {item: "late"}, "mail", review.record["until"] + 1)]) == 0
    assert review.cast([Ballot(0, 0, {item: "in time"}, "mail", review.record["until"] - 1)] * 2) == 1
    assert Review(review.path).cast([Ballot(0, 0, {item: "again"}, "page", time.time())]) == 0
    with open("review/votes.jsonl", "ab") as file:
        file.write(b'{"torn')
    assert [vote["answer"] for vote in Review(review.path).votes()] == ["in time"]


@pytest.mark.parametrize("name", clients.STYLES)
def test_replies_of_real_programs(name, private):
    people = made(1, pairs=1, singles=1, ratings=1, planted=0)
    message = letter_of(people)
    asked = questions(people, 0, 0)
    said = {"pair": "b", "single": "Real.", "rating": "*4*"}
    lines = [f"{each.number}{'.' if each.kind == 'pair' else ''} {said[each.kind]}" for each in asked[:3]]
    if name == "filled in":
        lines = [line.replace(". ", " ") for line in lines]
    content = clients.STYLES[name](message, "anna@ward.example", "\n".join([*lines, "Comment: no,", "not at all"]))
    reply = replies.read(message_from_bytes(content, policy=policy.default), MARKER)
    given = {people.review.items[item].kind: answer for item, answer in answers(reply, asked).items()}
    comment = given.pop("comment", "")
    assert given == {"pair": "B", "single": "real", "rating": "4"}
    assert comment == ("" if name == "filled in" else "no, not at all")
    assert not any("rote" in line or "schrieb" in line or ">" in line for line in reply.written), reply.written


def letter_of(people):
    from vitalsynth.reviewing.writing import letter

    settings = mail.Settings.of({"host": "localhost", "from": "crowd@ward.example"}, "the test")
    written = letter(people, 0, 0, "crowd@ward.example")
    message = mail.compose(settings, ["anna@ward.example"], written, written.draw())
    return message_from_bytes(message.as_bytes(policy=policy.SMTP), policy=policy.default)


def test_a_letter_itself_answers_nothing(private):
    people = made(1)
    message, asked = letter_of(people), questions(people, 0, 0)
    for reply in (replies.read(message), replies.read(message, MARKER)):
        assert answers(reply, asked) == {}
    text, _, pictures = smtp.parts(message)
    assert all(f"picture-{name}" in text for each in asked for name, _ in each.pictures)
    assert set(pictures) == {f"picture-{name}" for each in asked for name, _ in each.pictures}
    assert max(map(len, text.splitlines())) <= 100


def votes_of(rng, strengths, count, people, weight=0.0):
    """Draw pairs of contestants, and who wins; each person has a taste of their own."""
    pairs = np.array([rng.permutation(len(strengths))[:2] for _ in range(count)])
    who = np.arange(count) % people
    own = np.asarray(strengths) + weight * rng.standard_normal((people, len(strengths)))
    wins = rng.random(count) < expit(own[who, pairs[:, 0]] - own[who, pairs[:, 1]])
    return np.where(wins[:, None], pairs, pairs[:, ::-1]), who


def test_strengths_are_those_of_choix():
    rng = np.random.default_rng(0)
    choices, who = votes_of(rng, [0, 1, 2, -1, 0.5], 200, 10)
    found = fitting.bradley_terry(choices, who, 5, anchor=0).value
    theirs = choix.opt_pairwise(
        5, choices.tolist(), alpha=1 / (2 * fitting.PRIOR**2)
    )  # it adds alpha · |θ|², without a half
    np.testing.assert_allclose(found, theirs - theirs[0], atol=1e-5)
    many, who = votes_of(rng, [0, 1, -1], 20_000, 10)  # where the prior is nothing
    np.testing.assert_allclose(fitting.bradley_terry(many, who, 3, 0).value, [0, 1, -1], atol=0.1)


def test_two_contestants_have_the_odds_as_their_strength():
    """Without a prior it is the logarithm of the odds, 30 to 10, and its variance 1/30 + 1/10."""
    choices = np.array([[1, 0]] * 3000 + [[0, 1]] * 1000)
    found = fitting.bradley_terry(choices, np.arange(4000), 2, 0)
    assert found.value[1] == pytest.approx(np.log(3), abs=1e-3)
    assert found.high[1] - found.value[1] == pytest.approx(1.96 * np.sqrt(1 / 3000 + 1 / 1000), rel=0.01)


def test_intervals_hold_the_truth_where_people_differ():
    """As often as they say, within what 200 times can tell, though the answers of one person hang together."""
    rng, truth = np.random.default_rng(0), np.array([0.0, 0.8, -0.8])
    covered = []
    for _ in range(200):
        found = fitting.bradley_terry(*votes_of(rng, truth, 600, 20, weight=0.7), 3, anchor=0)
        shrunk = truth * 0.92  # what strengths are that people of different tastes have on the whole
        covered += list((found.low[1:] < shrunk[1:]) & (shrunk[1:] < found.high[1:]))
    assert 0.9 < np.mean(covered) < 0.985


def test_agreement_is_that_of_krippendorff():
    rng = np.random.default_rng(0)
    table = np.where(rng.random((6, 40)) < 0.6, rng.integers(1, 6, 40)[None], rng.integers(1, 6, (6, 40))).astype(float)
    table[rng.random(table.shape) < 0.4] = np.nan
    units = [list(column[~np.isnan(column)]) for column in table.T]
    for level in ("nominal", "ordinal"):
        theirs = krippendorff.alpha(reliability_data=table, level_of_measurement=level)
        assert fitting.alpha(units, level == "ordinal") == pytest.approx(theirs)
    assert fitting.alpha([[1, 1], [2, 2]]) == 1 and np.isnan(fitting.alpha([[1, 1], [1]]))


def test_shares_means_and_who_looks_are_as_in_the_books():
    assert fitting.wilson(10, 10) == pytest.approx((1.0, 10 / (10 + 1.959964**2), 1.0))
    assert np.isnan(fitting.wilson(0, 0)).all()
    values, who = np.array([1.0, 3, 5, 4, 2]), np.array([0, 0, 1, 1, 2])
    middle, low, high = fitting.mean(values, who)  # of 2, 4.5 and 2
    assert middle == pytest.approx(8.5 / 3) and high - middle == pytest.approx(
        4.302653 * np.std([2, 4.5, 2], ddof=1) / 3**0.5
    )
    assert fitting.looks(0, 0) == pytest.approx(0.9)
    assert fitting.looks(4, 4) == pytest.approx(0.9 * 0.98**4 / (0.9 * 0.98**4 + 0.1 * 0.5**4))
    rho, low, high = fitting.spearman(np.array([1.0, 2, 3, 4, 5]), np.array([2.0, 1, 4, 3, 5]))
    half = 1.959964 * np.sqrt((1 + 0.8**2 / 2) / 2)
    assert (rho, low, high) == pytest.approx((0.8, np.tanh(np.arctanh(0.8) - half), np.tanh(np.arctanh(0.8) + half)))


def test_the_benchmark_runs():
    script = Path(__file__).parents[1] / "benchmarks" / "reviews.py"
    command = [sys.executable, str(script), "--reviewers", "3", "--print"]
    row = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    assert row["reviewers"] == 3 and row["votes"] == 3 * 18 and row["letters_a_second"] > 0


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--to", "none.csv"], "none.csv"),
        (["--to", "wrong.csv"], "'anna' is no address"),
        (["--to", "twice.csv"], "A@x.org stands there twice"),
        (["--to", "good.csv", "--pairs", "200"], "--pairs 200 is more than there are: 2"),
        (["--to", "good.csv", "--pairs", "0", "--singles", "0", "--ratings", "0"], "nothing is asked"),
        (["--to", "good.csv", "--days", "0"], "--days must be more than 0"),
    ],
)
def test_mistakes_are_one_line(words, said, runs, private, capsys):
    for name, content in {"wrong": "anna\n", "twice": "a@x.org\nA@x.org\n", "good": "a@x.org\n"}.items():
        Path(f"{name}.csv").write_text(content)
    assert main(["review", "create", str(runs / MODELS[0]), *words, "--quiet"]) == 2
    error = capsys.readouterr().err
    assert said in error and error.count("\n") == 1 and not Path("reviews").exists()
