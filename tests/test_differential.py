"""What is promised to patients: the accounting, what one of them can change, what is refused; nothing launders it."""

import json
import shutil
from dataclasses import replace
from functools import partial
from math import exp, log, sqrt

import numpy as np
import pytest
import torch
from scipy.optimize import brentq
from scipy.stats import norm

from families import cohort
from vitalsynth import checkpoints, cli, differential, generators, methods, objectives, stabilisers
from vitalsynth.autoregressive import Autoregressive
from vitalsynth.commands.audit import audit
from vitalsynth.commands.branch import branch
from vitalsynth.commands.continue_ import continue_
from vitalsynth.commands.merge import merge
from vitalsynth.commands.pack import pack, unpack
from vitalsynth.commands.sample import sample
from vitalsynth.commands.train import train
from vitalsynth.differential import Budget, Mechanism, Privacy, auditing, epsilon
from vitalsynth.differential.marginals import Marginals
from vitalsynth.differential.mechanism import clipped
from vitalsynth.discriminators import LSTM, Convolutional, Projected
from vitalsynth.flows import Flow
from vitalsynth.layers import Spectral
from vitalsynth.learner import Learner
from vitalsynth.runs import Run
from vitalsynth.schedules import Balanced
from vitalsynth.training import private_player

LIMITS = "hr=0:250,temp=25:45,age=0:120"
PROMISE = Privacy(epsilon=9, length=6, public="all", noise=1.0)
GAME = {
    "generator": partial(generators.LSTM, hidden=8),
    "discriminator": partial(Convolutional, width=8, blocks=1),
    "objective": objectives.NonSaturating,
}
ALONE = {
    "generator": partial(Autoregressive, hidden=8, head=8, components=2, dropout=0.0),
    "discriminator": None,
    "objective": objectives.Likelihood,
}


def private(out, steps=4, privacy=PROMISE, data=None, **settings):
    given = {"normalise": "minmax", "limits": LIMITS, "batch": 8, "quiet": True, "checkpoint_every": 2, **GAME}
    return train(data or cohort(), out=str(out), steps=steps, privacy=privacy, **{**given, **settings})


def state_of(run):
    state = Run(run.path).newest()[1]["privacy"]
    return {**state, "spent": [tuple(each) for each in state["spent"]]}


def log_of(run):
    return [json.loads(line) for line in (run.path / "log.jsonl").read_text().splitlines()]


# Accounting


@pytest.mark.parametrize(
    ("spent", "delta", "by_renyi", "by_loss"),
    [  # by dp-accounting 0.6.0 of Google: RdpAccountant, PLDAccountant
        ((1.0, 0.125, 16), 1e-5, 4.696513893070339, 4.015423370129073),
        ((0.8, 0.02, 2000), 1e-5, 10.082755397643155, 9.142737955694498),
        ((1.1, 256 / 60000, 14000), 1e-5, 2.590376966678199, 2.3759264723444598),
    ],
)
def test_epsilon_is_that_of_another_accountant(spent, delta, by_renyi, by_loss):
    assert epsilon([spent], delta) == pytest.approx(by_renyi, rel=1e-3)
    assert by_loss <= epsilon([spent], delta, "prv") <= by_loss + 0.02  # Opacus's rounds up, by 0.01


@pytest.mark.parametrize("noise", [0.7, 2.0, 20.0])
def test_epsilon_without_sampling_is_that_of_the_gaussian_mechanism(noise):
    """Balle and Wang 2018, arXiv 1805.06530, theorem 8."""
    delta = 1e-5
    chance = lambda e: norm.cdf(0.5 / noise - e * noise) - exp(e) * norm.cdf(-0.5 / noise - e * noise)  # noqa: E731
    exact = brentq(lambda e: chance(e) - delta, 0, 50)
    assert exact <= epsilon([(noise, 1.0, 1)], delta, "prv") <= exact + 0.02
    assert exact <= epsilon([(noise, 1.0, 1)], delta, "rdp") <= 1.25 * exact


def test_what_was_spent_adds_up_in_any_order():
    parts = [(20.0, 1.0, 1), (1.0, 0.1, 30), (1.5, 0.2, 10)]
    assert epsilon(parts, 1e-5) == pytest.approx(epsilon(parts[::-1], 1e-5))
    assert epsilon([(1.0, 0.1, 10), (1.0, 0.1, 20)], 1e-5) == pytest.approx(epsilon([(1.0, 0.1, 30)], 1e-5))
    assert epsilon(parts, 1e-5) > epsilon(parts[1:], 1e-5) > epsilon([], 1e-5) == 0.0


@pytest.mark.parametrize("accountant", ["rdp", "prv"])
def test_the_least_noise_makes_a_budget_last_and_not_a_turn_longer(accountant):
    budget = Budget(Privacy(epsilon=2, accountant=accountant), [(20.0, 1.0, 1)])
    budget = Budget(replace(budget.privacy, noise=differential.calibrated(budget, 0.1, 40)), budget.spent)
    assert budget.affordable(0.1, 40) == 40
    most = budget.affordable(0.1, 80)
    assert 40 <= most <= 41
    for _ in range(most):
        budget.spend(0.1)
    assert budget.epsilon <= 2 < epsilon([*budget.spent, (budget.privacy.noise, 0.1, 1)], 1e-5, accountant)


# What one patient can change


def mechanism(settings, noise=0.0, clip=1.0, members=None, length=6):
    """Return a mechanism, its loss given data, the data, and the parameters."""
    privacy = replace(PROMISE, noise=noise, clip=clip, sequences=2)
    known = differential.known(replace(cohort(40), schema=cohort().schema.limited((), limits())), privacy)
    preparation = differential.prepare(known, ("died",), privacy)
    data = preparation.encode(known)
    members = members or [np.array([2 * j, 2 * j + 1]) for j in range(20)]
    record = {**_parts(settings), "shape": preparation.shape.to_json(), "condition": ["died"], "privacy": None}
    learner = Learner.build(record, torch.device("cpu"))
    objective = settings["objective"]()
    player = private_player(learner.networks)

    def loss_on(encoded):
        def loss(index):
            noise = torch.randn(len(index), learner.networks["generator"].noise)
            terms = objective.loss(player, learner.networks, objectives.Batch(encoded.take(index), noise), 0)
            return sum(terms.values())

        return loss

    conditions = lambda count, seed: preparation.conditions(count, seed=seed)  # noqa: E731
    made = Mechanism(privacy, members, 10, conditions, key="of this test")
    return made, loss_on, data, list(learner.trains[player].values())


def limits():
    return dict(pair.split("=") for pair in LIMITS.split(","))


def _parts(settings):
    from vitalsynth.commands import settings as recording

    given = {name: part for name, part in settings.items() if part is not None}
    for player in [name for name in ("generator", "discriminator") if settings[name] is not None]:
        given[f"{player}_optimizer"] = torch.optim.SGD
    plain = {"seed": 0, "batch": 10, "average": 0.0, "checkpoint_every": 1, "frozen": "", "precision": "float32"}
    return recording.to_record({"balance": "", "clip": 0.0, **plain, **given})


FAMILIES = {
    "a convolutional game": GAME,
    "a recurrent game": {**GAME, "discriminator": partial(LSTM, hidden=8)},
    "an exact penalty": {**GAME, "objective": objectives.Wasserstein},
    "likelihood": ALONE,
    "a flow": {**ALONE, "generator": partial(Flow, hidden=8, blocks=1), "objective": objectives.FlowMatching},
}


@pytest.mark.parametrize("family", FAMILIES.values(), ids=FAMILIES)
def test_one_patient_changes_the_sum_of_gradients_by_no_more_than_the_clip(family):
    made, loss_on, data, parameters = mechanism(family, clip=0.5)
    free = replace(made, privacy=replace(made.privacy, clip=1e12))
    turn = next(t for t in range(50) if 3 in made.drawn(t, 0))
    torch.manual_seed(1)
    x = data.x.clone()
    x[6:8] = 1e4 * torch.randn_like(x[6:8])
    other = replace(data, x=x)
    without = replace(made, members=[own if j != 3 else own[:0] for j, own in enumerate(made.members)])

    def total(how, encoded):
        return 10 * how.gradient(loss_on(encoded), parameters, turn, 0)  # times the batch: the sum itself

    whole = total(made, data)
    assert 0 < (total(without, data) - whole).norm() <= 0.5 * (1 + 1e-4)
    assert (total(made, other) - total(without, data)).norm() <= 0.5 * (1 + 1e-4)
    assert (total(free, other) - total(free, data)).norm() > 0.5  # which is the clipping's doing


def test_gradients_of_patients_are_those_of_brute_force():
    made, loss_on, data, parameters = mechanism(ALONE, clip=1e12)
    drawn = made.drawn(0, 0)
    loss = sum(loss_on(data)(torch.from_numpy(made.members[patient])) for patient in drawn)  # both of its sequences
    expected = torch.nn.utils.parameters_to_vector(torch.autograd.grad(loss, parameters)) / 10
    found = made.gradient(loss_on(data), parameters, 0, 0)
    assert len(drawn) > 1
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-6)


def test_what_is_not_finite_counts_as_nothing():
    broken = torch.tensor([torch.nan, 3.0, torch.inf, -torch.inf, 4.0])
    torch.testing.assert_close(clipped(broken, 1.0), torch.tensor([0.0, 0.6, 0.0, 0.0, 0.8]))
    torch.testing.assert_close(clipped(broken, 9.0), torch.tensor([0.0, 3.0, 0.0, 0.0, 4.0]))
    assert clipped(torch.full((3,), 1e30), 1.0).isfinite().all()


def test_noise_has_the_deviation_that_is_accounted_for_also_when_nobody_is_drawn():
    made, loss_on, data, _ = mechanism(GAME, noise=1.5, clip=2.0, members=[np.array([0])] * 1000)
    made = replace(made, members=[own[:0] for own in made.members])
    weights = [torch.nn.Parameter(torch.zeros(200, 200))]
    found = made.gradient(loss_on(data), weights, 0, 0)
    assert found.std().item() == pytest.approx(1.5 * 2.0 / 10, rel=0.02)
    again, later = (made.gradient(loss_on(data), weights, 0, turn) for turn in (0, 1))
    assert torch.equal(found, again) and not torch.equal(found, later)
    assert not torch.equal(found, replace(made, key="another").gradient(loss_on(data), weights, 0, 0))


def test_every_subject_is_drawn_at_the_same_rate_however_many_sequences_it_has():
    subject = np.array([7] * 30 + [3] * 1 + list(range(100, 138)))
    members = differential.patients(subject)
    assert [len(own) for own in members] == [1, 30, *[1] * 38]
    assert sorted(np.concatenate(members)) == list(range(len(subject)))
    made, *_ = mechanism(GAME, members=members)
    turns = [made.drawn(step, turn) for step in range(1000) for turn in range(2)]
    often = np.bincount(np.concatenate(turns), minlength=40)
    error = 5 * sqrt(2000 * 0.25 * 0.75)
    assert (abs(often - 2000 * 0.25) < error).all()
    sizes = np.array([len(turn) for turn in turns])
    assert sizes.var() == pytest.approx(40 * 0.25 * 0.75, rel=0.15)  # binomial, as of independent tosses


# Runs


@pytest.mark.parametrize("settings", [GAME, ALONE], ids=["game", "likelihood"])
def test_a_run_stops_at_its_budget_and_no_step_beyond_it_is_taken(tmp_path, settings, caplog):
    run = private(tmp_path / "run", 200, replace(PROMISE, epsilon=4.5), condition="died", **settings)
    state, rows = state_of(run), log_of(run)
    assert 1 < len(rows) < 200 and "pays for" in caplog.text
    assert state["spent"] == [(20.0, 1.0, 1), (1.0, pytest.approx(8 / 48), len(rows))]
    assert state["epsilon"] == pytest.approx(rows[-1]["privacy.epsilon_rdp"])
    assert state["epsilon"] <= 4.5 < epsilon([*state["spent"], (1.0, 8 / 48, 1)], 1e-5)
    assert not any(("adversarial" in name and name.startswith("discriminator")) or "nll" in name for name in rows[0])
    with pytest.raises(ValueError, match=rf"epsilon 4\.5 at delta 1e-05 does not pay for step {len(rows) + 1}; 4\.4"):
        continue_(str(run.path), steps=len(rows) + 1, quiet=True, data=cohort())
    assert log_of(run) == rows and state_of(run) == state


def test_several_turns_of_the_discriminator_are_each_paid(tmp_path):
    run = private(tmp_path / "run", 3, objective=partial(objectives.NonSaturating, discriminator_steps=4))
    assert [count for *_, count in state_of(run)["spent"]] == [12]


def test_noise_that_is_not_said_lasts_for_the_steps_asked_for(tmp_path):
    run = private(tmp_path / "run", 5, replace(PROMISE, epsilon=3, noise=0.0))
    assert 2.9 < state_of(run)["epsilon"] <= 3 and run.record["privacy"]["noise"] > 0.5


@pytest.mark.parametrize("settings", [GAME, ALONE], ids=["game", "likelihood"])
def test_an_interrupted_run_is_the_run_that_never_was(tmp_path, settings):
    whole = private(tmp_path / "whole", 6, PROMISE, condition="died", **settings)
    shutil.copytree(whole.path, tmp_path / "again")
    for step in (4, 6):
        shutil.rmtree(tmp_path / "again" / "checkpoints" / f"{step:08d}")
    continue_(str(tmp_path / "again"), steps=5, quiet=True, data=cohort())
    (again,) = continue_(str(tmp_path / "again"), steps=6, quiet=True, data=cohort())
    assert log_of(again) == log_of(whole) and state_of(again) == state_of(whole)
    ours, theirs = (run.newest()[0] for run in (again, whole))
    for file, tensors in ours.items():
        for name, value in tensors.items():
            assert torch.equal(value, theirs[file][name]), name


def test_the_noise_is_of_a_key_that_no_seed_gives_away_and_no_archive_holds(tmp_path):
    one, other = (private(tmp_path / name, 2) for name in ("one", "other"))
    norms = [log_of(run)[0]["discriminator.gradient_norm"] for run in (one, other)]
    assert norms[0] != norms[1]
    assert (one.path / "noise.key").stat().st_mode & 0o077 == 0
    for generator_only in (False, True):
        file = tmp_path / f"{generator_only}.zip"
        pack(str(one.path), out=str(file), generator_only=generator_only)
        assert (one.path / "noise.key").read_bytes() not in file.read_bytes()
        (copy,) = unpack([str(file)], out=str(tmp_path / f"copy{generator_only}"))
        assert state_of(copy) == state_of(one) and copy.record["privacy"] == one.record["privacy"]
        assert not (copy.path / "noise.key").exists()
    sample(str(tmp_path / "copyTrue"), count=3, out=str(tmp_path / "drawn.csv"), quiet=True)
    card = (tmp_path / "drawn.csv.card.md").read_text()
    assert f"epsilon {state_of(one)['epsilon']:.3g} at delta 1e-05" in card


def test_a_branch_inherits_what_was_spent_and_has_noise_of_its_own(tmp_path):
    parent = private(tmp_path / "parent", 4, PROMISE)
    given = {"data": cohort(), "quiet": True}
    (child,) = branch(str(parent.path), out=str(tmp_path / "child"), at=2, steps=4, **given)
    assert state_of(child)["spent"] == state_of(parent)["spent"]
    assert log_of(child)[0]["discriminator.gradient_norm"] != log_of(parent)[2]["discriminator.gradient_norm"]
    louder = replace(PROMISE, noise=2.0)
    (other,) = branch(str(parent.path), out=str(tmp_path / "other"), at=2, steps=4, privacy=louder, **given)
    assert [(noise, count) for noise, _, count in state_of(other)["spent"]] == [(1.0, 2), (2.0, 2)]
    tight = replace(PROMISE, epsilon=1)
    with pytest.raises(ValueError, match="does not pay"):
        branch(str(parent.path), out=str(tmp_path / "tight"), steps=5, privacy=tight, **given)
    assert not (tmp_path / "tight").exists()
    open_run = train(cohort(), out=str(tmp_path / "open"), steps=2, batch=8, quiet=True, **GAME)
    with pytest.raises(ValueError, match="nothing can be promised"):
        branch(str(open_run.path), out=str(tmp_path / "late"), privacy=PROMISE, **given)


def test_merging_adds_budgets_up_and_launders_nothing(tmp_path, caplog):
    parent = private(tmp_path / "parent", 2, replace(PROMISE, epsilon=4.4))
    given = {"data": cohort(), "quiet": True, "steps": 4}
    siblings = [branch(str(parent.path), out=str(tmp_path / name), **given)[0] for name in ("one", "two")]
    line = merge([str(parent.path), str(siblings[0].path)], out=str(tmp_path / "line"), quiet=True)
    assert state_of(line) == state_of(siblings[0])
    mean = _averaged(siblings, tmp_path / "mean")
    assert state_of(mean)["spent"] == [*state_of(siblings[0])["spent"], *state_of(siblings[1])["spent"]]
    shutil.copytree(mean.path, tmp_path / "longer")
    with pytest.raises(ValueError, match="does not pay for step 5"):
        continue_(str(mean.path), steps=5, quiet=True, data=cohort())
    record = json.loads((siblings[1].path / "run.json").read_text())
    from vitalsynth.runs.record import sealed

    plain = {key: value for key, value in record.items() if key not in ("digest", "preparation_sha256", "privacy")}
    for name, content in sealed(plain, siblings[1].preparation.to_json()).items():
        (siblings[1].path / name).write_bytes(content)
    tensors, state = siblings[1].newest()
    checkpoints.save(siblings[1].checkpoints, 4, tensors, {k: v for k, v in state.items() if k != "privacy"})
    mixed = _averaged([Run(run.path) for run in siblings], tmp_path / "mixed")
    assert "has no differential privacy" in caplog.text
    assert not mixed.record.get("privacy") and "privacy" not in mixed.newest()[1]


def _averaged(runs, out):
    from vitalsynth.runs import merging

    return merging.average(runs, out)


# What is known of the data


def limited(count, seed):
    sequences = cohort(count, seed=seed)
    return replace(sequences, schema=sequences.schema.limited((), limits()))


def test_a_private_preparation_knows_nothing_but_noisy_counts():
    privacy = replace(PROMISE, length=8)
    short = limited(50, 0).until(4)
    cohorts = [differential.known(sequences, privacy) for sequences in (limited(60, 1), short)]
    one, other = (differential.prepare(sequences, (), privacy).to_json() for sequences in cohorts)
    assert one == other
    assert [part["gaps"] for part in one["channels"]] == [True] * 4 and one["varying"]
    given = differential.prepare(cohorts[0], ("died", "sex"), replace(privacy, complete="sex"))
    codes = np.nan_to_num(given.combinations, nan=-1).tolist()
    assert codes == [[0, 0], [0, 1], [1, 0], [1, 1], [-1, 0], [-1, 1]]  # all that could be, not all that is


def test_encoding_by_public_bounds_loses_nothing():
    known = differential.known(limited(30, 2), PROMISE)
    preparation = differential.prepare(known, ("died",), PROMISE)
    back = preparation.decode(preparation.encode(known))
    np.testing.assert_allclose(back.values, known.values, atol=1e-4)
    np.testing.assert_allclose(back.static, known.static, atol=1e-4)
    np.testing.assert_array_equal(back.lengths, known.lengths)


def test_counts_of_conditions_are_those_of_patients_with_the_noise_that_is_paid_for():
    sequences = limited(60, 0)
    twice = replace(sequences.take(np.repeat(np.arange(60), 2)), subject=np.repeat(np.arange(60), 2))
    known = differential.known(twice, PROMISE)
    privacy = replace(PROMISE, counts=2.0, complete="died")
    counts = np.array([differential.prepare(known, ("died",), privacy).counts for _ in range(300)])
    np.testing.assert_allclose(counts.mean(axis=0), [45, 15], atol=0.6)
    np.testing.assert_allclose(counts.std(axis=0), 2.0, rtol=0.2)


class Peeking(objectives.Hinge):
    """A generator's loss that looks at real sequences, though its class says that it does not."""

    def generator_loss(self, discriminator, real, synthetic, step=0):
        return {"adversarial": (synthetic.x.mean() - real.x.mean()).square()}


class Counting(Convolutional):
    """A network that remembers how often it was asked."""

    def __init__(self, shape, width: int = 8):
        super().__init__(shape, width=width, blocks=1)
        self.register_buffer("asked", torch.zeros(()))

    def forward(self, encoded, condition):
        self.asked += 1
        return super().forward(encoded, condition)


class Normed(Convolutional):
    """Batch normalisation, which mixes sequences."""

    def __init__(self, shape, width: int = 8):
        super().__init__(shape, width=width, blocks=1)
        self.activation = torch.nn.Sequential(torch.nn.BatchNorm1d(width), torch.nn.LeakyReLU(0.2))


REFUSED = {
    "relativistic": ({"objective": objectives.Relativistic}, "take NonSaturating, Hinge"),
    "projected": ({"discriminator": Projected}, "may not look at the data beforehand"),
    "minibatch": ({"discriminator": partial(Convolutional, width=8, minibatch=4)}, "Minibatch in the discriminator"),
    "batch norm": ({"discriminator": Normed}, "BatchNorm1d in the discriminator"),
    "spectral": ({"discriminator": partial(Convolutional, width=8, spectral=True)}, "Spectral in the discriminator"),
    "a counter": ({"discriminator": Counting}, "discriminator.asked changed"),
    "feature matching": ({"stabilisers": [stabilisers.FeatureMatching]}, "FeatureMatching"),
    "peeking": ({"objective": Peeking}, "generator.adversarial is nan"),
    "extragradient": ({"method": methods.Extragradient}, "Extragradient as asked does more"),
    "lookahead": ({"method": partial(methods.Lookahead, within="extragradient")}, "Lookahead as asked does more"),
    "consensus": ({"method": methods.Consensus}, "Consensus as asked does more"),
    "pasts": ({"generator": partial(generators.LSTM, hidden=8, pasts=0.5)}, "leave out --generator.pasts"),
    "by who is ahead": ({"discriminator_schedule": Balanced}, "Balanced"),
    "balance": ({"condition": "died", "balance": "died"}, "--balance"),
    "no bounds": ({"limits": "hr=0:250,age=0:120"}, "--limits temp=LOW:HIGH"),
    "half a bound": ({"limits": "hr=0:,temp=25:45,age=0:120"}, "--limits hr=LOW:HIGH"),
    "quantile": ({"normalise": "quantile"}, "--normalise minmax"),
    "auto": ({"normalise": "auto"}, "--normalise minmax"),
    "whitened": ({"whiten": 0.1}, "--whiten 0"),
    "outlined": ({"outline": 4}, "--outline 0"),
    "a number": ({"condition": "age"}, "'age' is a number"),
    "categories": ({"privacy": replace(PROMISE, public="died")}, "--privacy.public died,ventilated,rhythm,sex"),
    "length": ({"privacy": replace(PROMISE, length=0)}, "--privacy.length 6"),
    "complete": ({"privacy": replace(PROMISE, complete="temp")}, "'temp' has gaps"),
    "delta": ({"privacy": replace(PROMISE, delta=0.1)}, "must be less than 0.021"),
    "batch": ({"batch": 60}, "exceeds the 48 patients"),
    "counts": (
        {"condition": "died", "privacy": replace(PROMISE, epsilon=1, counts=0.5, noise=0.0)},
        "--privacy.counts",
    ),
}


@pytest.mark.parametrize(("settings", "message"), REFUSED.values(), ids=REFUSED)
def test_what_would_look_at_patients_is_refused_in_a_line(tmp_path, settings, message):
    with pytest.raises(Exception, match=message) as refused:
        private(tmp_path / "run", **settings)
    assert "\n" not in str(refused.value) and not (tmp_path / "run").exists()


def test_power_iteration_would_tell_how_many_were_drawn():
    """Why spectral normalisation is refused: its state goes on with every call."""
    network = Spectral(torch.nn.Linear(3, 3))
    with pytest.raises(ValueError, match="changed"), differential.nothing_kept({"discriminator": network}):
        network(torch.zeros(1, 3))


def test_numbers_out_of_their_range_are_refused():
    for wrong in (
        {"epsilon": 0},
        {"epsilon": 1, "delta": 1.0},
        {"epsilon": 1, "clip": -1.0},
        {"epsilon": 1, "noise": -1.0},
    ):
        with pytest.raises(ValueError, match=r"--privacy\."):
            Privacy(**wrong)


def test_the_command_line_takes_a_budget(tmp_path, capsys):
    out = str(tmp_path / "run")
    given = ["sines", "--source.count", "60", "--out", out, "--steps", "2", "--batch", "4", "--quiet"]
    given += ["--objective", "Hinge", "--discriminator", "LSTM", "--discriminator.hidden", "4", "--normalise", "minmax"]
    promised = ["--privacy.epsilon", "5", "--privacy.delta", "1e-4", "--privacy.clip", "0.5"]
    assert cli.main(["train", *given, *promised]) == 2
    assert "--privacy.length" in capsys.readouterr().err
    assert cli.main(["train", *given, *promised, "--privacy.length", "30", "--privacy.complete", "nobody"]) == 2
    error = capsys.readouterr().err
    assert "no column 'nobody'" in error and error.count("\n") == 1
    assert cli.main(["train", *given, *promised, "--privacy.length", "30"]) == 0
    assert Run(out).record["privacy"]["clip"] == 0.5 and state_of(Run(out))["delta"] == 1e-4


# The audit


def test_the_bound_in_cases_worked_by_hand():
    right = 0.05 ** (1 / 10)  # all of 10 guesses right has the chance right^10 = 5 %
    assert auditing.lower_bound(10, 10, 10, 0.0) == pytest.approx(log(right / (1 - right)), abs=1e-3)
    assert auditing.lower_bound(10, 10, 5, 0.0) == 0.0
    # of 2 guesses 2 right, at epsilon 0: 1/4, and 2 m delta max(P[B = 1] / 1, P[B = 0 or 1] / 2) = 2 * 4 * 0.01 * 1/2
    assert auditing.chance(4, 2, 2, 0.0, 0.01) == pytest.approx(0.25 + 0.04)
    assert auditing.lower_bound(1000, 100, 90, 1e-3) < auditing.lower_bound(1000, 100, 90, 1e-6)


@pytest.mark.parametrize("budget", [0.5, 2.0])
def test_the_bound_of_randomised_response_is_below_its_epsilon(budget):
    """Whose guesses are right with a probability of e^ε / (1 + e^ε), the most there can be."""
    bounds = []
    for seed in range(20):
        rng = np.random.default_rng(seed)
        right = (rng.random(400) < 1 / (1 + exp(-budget))).sum()
        bounds.append(auditing.lower_bound(400, 400, int(right), 0.0))
    assert sum(bound > budget for bound in bounds) <= 3  # of 20, at 95 % confidence: 4 or more in 1.6 % of cases
    assert np.median(bounds) > 0.5 * budget


def test_those_of_the_highest_scores_are_guessed_to_be_in():
    scores, included = np.array([3.0, 1.0, 2.0, 0.0, 9.0, -1.0]), np.array([1, 0, 0, 1, 1, 0], dtype=bool)
    assert auditing.right_guesses(scores, included, 6) == 4
    assert auditing.right_guesses(scores, included, 2) == 2


def audited(tmp_path, seeds, noise, **settings):
    run = private(
        tmp_path / "run", 1, replace(PROMISE, noise=noise), cohort(16), held_out=0, batch=16, average=0.0,
        discriminator_optimizer=partial(torch.optim.SGD, lr=0.1),
    )  # fmt: skip
    given = {"quiet": True, "data": cohort(16), **settings}
    return [audit(str(run.path), out=str(tmp_path / f"audit{seed}"), seed=seed, **given)[0] for seed in seeds]


def test_the_audit_never_exceeds_the_accountant_in_20_seeds(tmp_path):
    results = audited(tmp_path, range(20), 1.0, canaries=60, steps=2)
    assert all(0 <= found["epsilon_at_least"] <= found["epsilon_at_most"] for found in results)
    assert len({found["right"] for found in results}) > 1
    assert json.loads((tmp_path / "audit3" / "audit.json").read_text()) == results[3]


def test_the_audit_notices_that_the_noise_was_forgotten(tmp_path, monkeypatch, capsys):
    of = Mechanism.of

    def forgetful(*given):
        return replace(made := of(*given), privacy=replace(made.privacy, noise=0.0))

    monkeypatch.setattr(Mechanism, "of", forgetful)
    (found,) = audited(tmp_path, [0], 2.0, canaries=200, steps=40, **{"quiet": False})
    assert found["epsilon_at_least"] > found["epsilon_at_most"] > 0 and found["refuted"]
    assert "THE PROMISE DOES NOT HOLD" in capsys.readouterr().err


def test_what_promises_nothing_cannot_be_audited(tmp_path):
    run = train(cohort(), out=str(tmp_path / "open"), steps=1, batch=8, quiet=True, **GAME)
    with pytest.raises(ValueError, match="trained without --privacy"):
        audit(str(run.path), out=str(tmp_path / "audit"), data=cohort())


# The baseline


def test_marginals_are_those_of_the_data_where_the_budget_is_large_and_all_alike_where_it_is_small():
    sequences = limited(2000, 0)
    rich = Marginals.learn(sequences, replace(PROMISE, epsilon=1e5, complete="died"), "died", bins=25)
    drawn, known = rich.draw(2000, seed=1), sequences
    np.testing.assert_allclose(drawn.static_column("died").mean(), 0.25, atol=0.03)
    dead = lambda s: s.static_column("died") == 1  # noqa: E731
    for group in (dead, lambda s: ~dead(s)):
        ours, theirs = (np.nanmean(s.channel("hr")[group(s)]) for s in (drawn, known))
        assert ours == pytest.approx(theirs, abs=3)
    np.testing.assert_allclose(
        np.isnan(drawn.values).mean(axis=(0, 1)), np.isnan(known.values).mean(axis=(0, 1)), atol=0.06
    )
    np.testing.assert_allclose(drawn.lengths.mean(), known.lengths.mean(), atol=0.2)
    few, weak = limited(50, 0), replace(PROMISE, epsilon=0.3)
    poor = [Marginals.learn(few, weak).draw(500).channel("hr") for _ in range(20)]  # each with noise of its own
    assert (
        abs(np.nanmean([np.nanmean(own) for own in poor]) - 125) < 15
    )  # the middle of the bounds: nothing was learned
    assert np.nanmin(poor) >= 0 and np.nanmax(poor) <= 250


def test_one_patient_changes_the_counts_of_marginals_by_what_is_paid_for(monkeypatch):
    sequences = limited(30, 0)
    deviations = []

    class Silent:
        def normal(self, mean, deviation, shape):
            deviations.append(deviation)
            return np.zeros(shape)

    monkeypatch.setattr("vitalsynth.differential.marginals.np.random.default_rng", lambda *seed: Silent())
    whole = Marginals.learn(sequences, PROMISE).counts
    without = Marginals.learn(sequences.take(np.arange(30) != 7), PROMISE).counts
    most = sqrt(1 + 3 + 6 * 4)  # a length, 3 statics, 4 channels at 6 steps
    own = sqrt(1 + 3 + sequences.lengths[7] * 4)  # what has ended is not counted
    assert np.linalg.norm(whole - without) == pytest.approx(own) and own <= most
    noise = deviations[0] / most
    assert 8.9 < epsilon([(noise, 1.0, 1)], 1e-5) <= 9
