"""What a review costs: reviewers mailed and collected, through real SMTP and IMAP servers on the loopback.

    OMP_NUM_THREADS=1 python benchmarks/reviews.py --reviewers 100 1000

Each reviewer gets a letter with 18 questions and the pictures of them, taken by the server for us, too; each replies as
Gmail does. Servers run in processes of their own; a process of its own sends, and one collects, of which the
most memory is told that they ever held (VmHWM), and by how much that is more than before the first letter or reply.
Letters and replies a second are with all servers on the same cores; CPU-milliseconds
are of the process that sends or collects, for each letter or reply. A JSON line per size is printed and added to
benchmarks/results/reviews.jsonl.
"""

import argparse
import io
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image
from results import record

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

import clients
import imap
import smtp
from vitalsynth.reviewing import asking
from vitalsynth.reviewing.people import People
from vitalsynth.reviewing.review import REAL, SPOILT, Review

WORK = """
import sys, time
from vitalsynth.commands import function
import imap_tools, vitalsynth.reviewing.posting, vitalsynth.reviewing.collecting
peak = lambda: int(next(l for l in open("/proc/self/status") if l.startswith("VmHWM")).split()[1]) / 1024
command, review = sys.argv[1:]
work = function(f"review {command}")
before, began, used = peak(), time.perf_counter(), time.process_time()
work(review, quiet=True, **({"per_minute": 0} if command == "send" else {}))
print(time.perf_counter() - began, time.process_time() - used, before, peak())
"""


def review(folder, count, size, rng):
    """Make a review of 8 runs with pictures of a usual size, of noise."""
    keys = [REAL, SPOILT, *(f"run{k}" for k in range(8))]
    names = {key: [f"{rng.bytes(8).hex()}.png" for _ in range(3)] for key in keys}
    pictures = {name: picture(size, rng) for mine in names.values() for name in mine}
    wanted = asking.Wanted(pairs=6, singles=2, ratings=2, planted=8, comment=True, per_mail=20)
    items, letters = asking.assigned(asking.pool(names, rng), count, wanted, rng)
    contestants = {key: {"name": key, "runs": []} for key in keys}
    about = {"until": time.time() + 1e6, "data": "none", "contestants": contestants}
    made = Review.create(Path(folder) / "review", items, letters, pictures, **about)
    return People.create(made, [f"r{k}@ward.example" for k in range(count)])


def picture(size, rng):
    """Return a picture of so many bytes."""
    file = io.BytesIO()
    Image.fromarray(rng.integers(0, 256, (size // 60, 60), np.uint8)).save(file, "png")
    return file.getvalue()


def worked(command, path):
    """Run a command in a process of its own; return its seconds, CPU-seconds, and MiB before and at most."""
    words = [sys.executable, "-c", WORK, command, str(path)]
    said = subprocess.run(words, check=True, capture_output=True, text=True).stdout
    return [float(each) for each in said.split()]


def reply(message, sender):
    """Answer all questions of a letter, as Gmail does."""
    text = message.get_body(("plain",)).get_content()
    said = {"Which": "A", "Is": "real", "How": "3"}
    asked = re.findall(r"^(\d+)\. (\w+)", text, re.MULTILINE)
    return clients.gmail(message, sender, "\n".join(f"{number} {said[word]}" for number, word in asked if word in said))


def measured(count, size, seed):
    """Mail and collect so many reviewers, and return a row of figures."""
    rng = np.random.default_rng(seed)
    with tempfile.TemporaryDirectory() as folder:
        os.environ["VITALSYNTH_PRIVATE"] = f"{folder}/private"
        people = review(folder, count, size, rng)
        with imap.running() as postbox, smtp.running(Path(folder), "plain") as (mailbox, settings):
            for prefix, given in (("SMTP", settings), ("IMAP", postbox.settings)):
                os.environ |= {f"VITALSYNTH_{prefix}_{name.upper()}": value for name, value in given.items()}
            sent, used, before, most = worked("send", people.review.path)
            assert len(mailbox.messages) == count
            bytes_each = sum(len(message.as_bytes()) for message, _, _ in mailbox.messages[:20]) / min(count, 20)
            row = {"reviewers": count, "letter_kb": round(bytes_each / 1000)}
            row |= {
                "letters_a_second": round(count / sent, 1),
                "send_cpu_ms": round(1000 * used / count, 1),
                "send_mib": round(most),
                "send_more_mib": round(most - before, 1),
            }
            postbox.put(*(reply(message, to[0]) for message, to, _ in mailbox.messages))
            mailbox.messages.clear()
            collected, busy, before, most = worked("collect", people.review.path)
            votes = len(people.review.votes())
            assert votes == 18 * count, votes
    more = {"collect_mib": round(most), "collect_more_mib": round(most - before, 1)}
    return {
        **row,
        "replies_a_second": round(count / collected, 1),
        "collect_cpu_ms": round(1000 * busy / count, 1),
        **more,
        "votes": votes,
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--reviewers", nargs="+", type=int, default=[100, 1000])
    parser.add_argument("--size", type=int, default=7000, help="bytes of a picture")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--print", action="store_true", help="note nothing")
    asked = parser.parse_args()
    for count in asked.reviewers:
        row = measured(count, asked.size, asked.seed)
        print(json.dumps(row)) if asked.print else record("reviews", row)


if __name__ == "__main__":
    main()
