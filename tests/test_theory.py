"""What is shipped does what theory says of it, and would be found out if it did not."""

import ast
import inspect
import textwrap
from copy import deepcopy
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch

from vitalsynth import cli, methods, objectives, optimizers, penalties, stabilisers, training
from vitalsynth.autoregressive import Autoregressive
from vitalsynth.commands.theory import theory
from vitalsynth.commands.train import train
from vitalsynth.discriminators import LSTM as Judge
from vitalsynth.games import catalogue, closed, duality, modes, spectrum, stepping
from vitalsynth.games.catalogue import H
from vitalsynth.games.toy import Game, double
from vitalsynth.generators import GRU
from vitalsynth.learner import Learner

CASES = {case.name: case for case in catalogue.catalogue()}


@pytest.mark.parametrize("name", CASES)
def test_the_training_step_has_the_eigenvalues_of_theory(name):
    """To 1e-6, and played it goes where they say."""
    answer = catalogue.ask(CASES[name])
    assert answer.error < 1e-6 and answer.drift < 1e-9
    assert answer.agrees, (answer.factor, closed.radius(answer.expected))


def test_closed_forms_give_known_numbers():
    """Numbers worked out by computer algebra beforehand; h c = 0.15 but where said."""
    rotation = closed.field(1.0)

    def moduli(of, *settings):
        return [closed.radius(of(rotation, *each)) for each in settings]

    at_once = closed.simultaneous(rotation, 0.15)
    assert closed.radius(closed.lookahead(at_once, 5, 0.5)) == pytest.approx(0.9582, abs=5e-5)
    assert closed.radius(closed.lookahead(at_once, 20, 0.5)) == pytest.approx(0.1545, abs=5e-5)
    assert moduli(closed.optimistic, (0.577,), (0.578,)) == pytest.approx([0.9991, 1.0017], abs=5e-5)
    assert moduli(closed.momentum, (0.15, -0.5), (0.15, 0.0), (0.15, 0.5)) == pytest.approx(
        [1.0017, 1.0112, 1.0843], abs=5e-5
    )
    turns = [closed.radius(closed.momentum_alternating(1.0, 0.15, beta)) for beta in (-0.5, 0.5)]
    assert turns == pytest.approx([0.9967, 1.0611], abs=5e-5)
    pulled = [closed.radius(closed.alternating(0.5, 0.3, g)) for g in (0, 0.1, 0.5, 1, 2)]
    assert pulled == pytest.approx([1, 0.9849, 0.9219, 0.8979, 0.9615], abs=1e-4)
    assert moduli(closed.extragradient, (0.15,)) == pytest.approx([np.sqrt(1 - 0.15**2 + 0.15**4)])
    assert closed.field(0.5, 1.0) == pytest.approx([-0.5, -0.5])  # critically damped


@pytest.mark.parametrize("name", ["NonSaturating", "Wasserstein"])
def test_at_once_the_distance_changes_exactly_as_theory_says(name):
    """However far from the equilibrium: r² grows by h² (θ' ² + ψ' ²), and as losses that are not opposite pull in."""
    with double():
        learner, plan, data = Game(catalogue.GAMES[name][0]).build()
        stepping.place(learner, np.array([1.5, -2.0]))
        for _ in range(30):
            theta, psi = before = stepping.state(learner)
            training.take_step(learner, data, plan)
            wins = 1 / (1 + np.exp(-theta * psi))
            fields = np.array([psi * (1 - wins), -theta * wins]) if name == "NonSaturating" else np.array([psi, -theta])
            pull = -theta * psi * np.tanh(theta * psi / 2) if name == "NonSaturating" else 0.0
            expected = (before**2).sum() + 2 * H * pull + H**2 * (fields**2).sum()
            assert (stepping.state(learner) ** 2).sum() == pytest.approx(expected, rel=1e-12)


def test_what_theory_favours_converges_on_a_bilinear_game_where_turns_circle():
    found = {
        name: catalogue.verdict(closed.radius(case.closed))
        for name, case in CASES.items()
        if case.game == catalogue.BILINEAR
    }
    assert found.pop("bilinear: Simultaneous") == "diverges"
    assert found.pop("bilinear: Alternating") == "circles"
    assert len(found) == 5 and set(found.values()) == {"converges"}


def test_eigenvalues_are_paired_as_well_as_they_can_be():
    assert stepping.apart([1 + 1j, 2, 0], [2, 1 + 1j]) == 0
    assert stepping.apart([1, 1, 0.5], [1, 1]) == pytest.approx(0.5)
    assert stepping.apart([1, 2], [1, 1]) == pytest.approx(1)


# A mutant is a shipped function with one sign flipped: of a sum, of a term of a loss, of what it returns.
MUTATED = [
    *(
        (owner, f"{player}_loss")
        for owner in vars(objectives).values()
        if owner in (objectives.NonSaturating, objectives.Hinge, objectives.Wasserstein, objectives.Relativistic)
        for player in ("discriminator", "generator")
    ),
    (objectives.Likelihood, "loss"),
    (objectives.FlowMatching, "loss"),
    (penalties, "_squared_gradient"),
    (penalties, "squared_slope"),
    (penalties, "gradient_norm_between"),
    (penalties, "slope_between"),
    (penalties, "_difference"),
    (penalties, "_squared_norm"),
    (stabilisers.FeatureMatching, "terms"),
    (stabilisers.Consistency, "terms"),
    (methods.Consensus, "play"),
    (methods.Lookahead, "play"),
    (optimizers.OptimisticAdam, "step"),
]
UNSEEN = {
    # Games here have no statics and no pasts, and no distance is so small that what keeps it from 0 matters.
    *("vs - (s - zs)", "s - zs", "ex.sum(dim=(1, 2)) + es.sum(dim=1)", "x[0].numel() + s[0].numel()"),
    *("columns - (fixed.known.sum() + fixed.known_s.sum()) / len(x)", "fixed.known.sum() + fixed.known_s.sum()"),
    *("squared + 1e-12", "_squared_norm(apart) + 1e-12"),
    *("{}",),
}


class Flip(ast.NodeTransformer):
    """Flips the sign at one site, and lists them all."""

    def __init__(self, at=-1):
        self.at, self.sites = at, []

    def site(self, node, flipped):
        self.sites.append(ast.unparse(node))
        return flipped if len(self.sites) - 1 == self.at else node

    def visit_BinOp(self, node):
        self.generic_visit(node)
        if isinstance(node.op, ast.Add | ast.Sub):
            return self.site(
                node, ast.BinOp(node.left, ast.Sub() if isinstance(node.op, ast.Add) else ast.Add(), node.right)
            )
        return node

    def visit_UnaryOp(self, node):
        self.generic_visit(node)
        return self.site(node, node.operand) if isinstance(node.op, ast.USub) else node

    def visit_Dict(self, node):
        self.generic_visit(node)
        node.values = [self.site(value, negated(value)) for value in node.values]
        return node

    def visit_Assign(self, node):
        self.generic_visit(node)
        if isinstance(node.targets[0], ast.Subscript):
            node.value = self.site(node.value, negated(node.value))
        return node

    def visit_Return(self, node):
        self.generic_visit(node)
        if isinstance(node.value, ast.Tuple):
            node.value.elts = [self.site(each, negated(each)) for each in node.value.elts]
        elif node.value is not None and not isinstance(node.value, ast.Dict | ast.Name):
            node.value = self.site(node.value, negated(node.value))
        return node


def negated(node):
    return ast.UnaryOp(ast.USub(), node)


def source(owner, name):
    code = textwrap.dedent(inspect.getsource(inspect.unwrap(getattr(owner, name))))
    return code.replace("super()", f"super({owner.__name__}, self)")


def mutants():
    for owner, name in MUTATED:
        listing = Flip()
        listing.visit(ast.parse(source(owner, name)))
        for at, site in enumerate(listing.sites):
            if site not in UNSEEN:
                yield pytest.param(owner, name, at, id=f"{owner.__name__.split('.')[-1]}.{name}: {site}")


def found_out(about):
    """Whether any case no longer agrees; those first that are named after it."""
    ordered = sorted(CASES.values(), key=lambda case: about not in case.name)
    return any(disagrees(case) for case in ordered)


def disagrees(case):
    try:
        return not catalogue.ask(case, play=False).agrees
    except training.Diverged:
        return True


@pytest.mark.parametrize(("owner", "name", "at"), list(mutants()))
def test_a_flipped_sign_is_found_out(owner, name, at, monkeypatch):
    tree = ast.fix_missing_locations(Flip(at).visit(ast.parse(source(owner, name))))
    module = owner if inspect.ismodule(owner) else inspect.getmodule(owner)
    namespace = {}
    exec(compile("from __future__ import annotations\n" + ast.unparse(tree), name, "exec"), vars(module), namespace)
    for place in (owner, objectives) if inspect.ismodule(owner) else (owner,):
        if hasattr(place, name):
            monkeypatch.setattr(place, name, namespace[name])
    assert found_out(owner.__name__.split(".")[-1])


@pytest.mark.parametrize(
    ("owner", "name", "old", "new"),
    [
        (methods.Extragradient, "play", "step.put(before)", "pass"),
        (methods.Simultaneous, "play", "for turn in step.turns:\n        step.move(turn)", "pass"),
        (methods.Alternating, "play", "step.move(turn)", "pass"),
        (methods.Lookahead, "play", "self.share", "(1 - self.share)"),
        (methods.Lookahead, "play", "step.memory.clear()", "pass"),
        (methods.Consensus, "play", "(self.weight / 2)", "self.weight"),
    ],
)
def test_a_method_played_wrongly_is_found_out(owner, name, old, new, monkeypatch):
    code = source(owner, name)
    assert old in code
    namespace = {}
    exec("from __future__ import annotations\n" + code.replace(old, new), vars(methods), namespace)
    monkeypatch.setattr(owner, name, namespace[name])
    assert found_out(owner.__name__)


def test_modes_are_counted():
    """By hand: of four modes two are caught, one three times as often as the other; one sample belongs to none."""
    centres = np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
    samples = np.array([[0.0, 0.1], [0.0, -0.29], [0.1, 0.0], [1.0, 0.1], [0.5, 0.5]])
    found = modes.caught(samples, centres, 0.1)
    assert (found.modes, found.near) == (2, 0.8)
    assert found.divergence == pytest.approx(0.75 * np.log(3) + 0.25 * np.log(1))
    everything = modes.caught(modes.draw(modes.ring(), 4000, 0.05), modes.ring(), 0.05)
    assert everything.modes == 8 and everything.near > 0.98 and everything.divergence < 0.01
    assert modes.caught(samples + 9, centres, 0.1) == modes.Caught(0, 0.0, float("inf"))
    assert len(modes.grid()) == 25


@pytest.mark.parametrize("pull", [0.0, 0.5, 2.0])
def test_the_spectrum_of_a_game_is_that_of_theory(pull):
    with double():
        learner, plan, data = Game(partial(objectives.Relativistic, r1=pull, r2=0.0, every=4)).build()
    found = spectrum.of(learner, data, plan)
    assert stepping.apart(found.largest, closed.field(0.5, pull)) < 1e-12
    assert found.norm == 0 and found.rate == H
    stable = {0.0: 0.0, 0.5: 2 * 0.25 / 0.25, 2.0: 2 / (1 + np.sqrt(0.75))}[pull]
    assert found.stable_rate == pytest.approx(stable, abs=1e-9)
    assert ("turns more than it pulls" in str(found)) == (pull < 1)


def test_the_spectrum_of_a_run_is_that_of_its_whole_jacobian(tmp_path):
    """Of a recurrent game with R1, R2 and Adam's scales; its products are differences of the gradients."""
    run = small_run(tmp_path / "run")
    learner = Learner.build(run.record, torch.device("cpu"))
    learner.resume(run)
    plan, data = training.Plan.of(run.record), run.preparation.encode(run.data()[0])
    found = spectrum.of(learner, data, plan, batch=16)
    with double():
        game = spectrum._Field(learner, data.to(torch.float64), plan, 16, 0)
        whole = np.linalg.eigvals(np.stack([game.product(each) for each in np.eye(len(game.scale))], axis=1))
        direction, ends = np.random.default_rng(0).standard_normal(len(game.scale)), []
        for sign in (1, -1):
            moved = deepcopy(learner)
            for network in moved.networks.values():
                network.double()
            parameters = [p for trained in reversed(moved.trains.values()) for p in trained.values()]
            shift = torch.tensor(sign * 1e-5 * direction).split([p.numel() for p in parameters])
            for parameter, part in zip(parameters, shift, strict=True):
                parameter.data += part.view_as(parameter)
            ends.append(spectrum._Field(moved, data.to(torch.float64), plan, 16, 0).field.detach())
        expected = (game.scale * (ends[0] - ends[1]) / 2e-5).numpy()
        np.testing.assert_allclose(game.product(direction), expected, rtol=1e-4, atol=1e-5 * np.abs(expected).max())
    largest = sorted(whole, key=abs)[-1]
    assert max(map(abs, found.largest)) == pytest.approx(abs(largest), rel=1e-3)
    assert max(each.real for each in found.rightmost) == pytest.approx(whole.real.max(), rel=1e-2)


def small_run(out, steps=8):
    return train(
        "ornstein-uhlenbeck",
        source={"count": 64, "length": 4, "gap": 0.0},
        out=str(out),
        steps=steps,
        batch=8,
        checkpoint_every=4,
        quiet=True,
        generator=partial(GRU, hidden=2, step_noise=1, sequence_noise=1),
        discriminator=partial(Judge, hidden=2),
    )


BOUNDED = Game(
    partial(objectives.Relativistic, r1=1.0, r2=1.0),
    methods.Alternating,
    (partial(torch.optim.SGD, lr=0.3),) * 2,
    data=((1.0,), (1.2,), (0.8,), (1.0,)),
)


def test_the_duality_gap_is_0_in_equilibrium_only():
    """The proximal gap too, and where the generator is right and the discriminator wrong it is the smaller."""
    found = {}
    for name, at in {
        "equilibrium": (1.0, 0.0),
        "wrong generator": (0.0, 0.0),
        "wrong discriminator": (1.0, 1.0),
    }.items():
        with double():
            learner, plan, data = BOUNDED.build()
            stepping.place(learner, np.array(at))
            learner.average.load_state_dict(learner.networks["generator"].state_dict())
            before = stepping.state(learner)
            found[name] = duality.gap(learner, data, data, plan, steps=200, weight=0.05)
            assert np.array_equal(stepping.state(learner), before) and learner.step == 0
    assert abs(found["equilibrium"].gap) < 0.02 and abs(found["equilibrium"].proximal_gap) < 0.02
    assert found["equilibrium"].value == pytest.approx(-np.log(2))
    # Against D = 0 whose generator is at 0: R1 + R2 hold ψ at 2ψ = σ(-ψ), that is 0.2223
    assert found["wrong generator"].best == pytest.approx(-np.log1p(np.exp(-0.2223)), abs=2e-3)
    assert found["wrong generator"].worst == pytest.approx(-np.log(2))
    assert found["wrong discriminator"].gap > 10 * found["wrong discriminator"].proximal_gap > 0


def test_a_game_of_one_has_no_duality_gap():
    with double():
        learner, plan, data = CASES["a normal law: Likelihood"].setup.build()
        with pytest.raises(ValueError, match="Likelihood has one"):
            duality.gap(learner, data, data, plan, 3)


def test_the_command_measures_a_run_at_its_checkpoints(tmp_path, capsys):
    run = str(small_run(tmp_path / "run").path)
    rows = theory(run, checkpoint="4,8", clone_steps=3)
    assert [row["step"] for row in rows] == [4, 8]
    said = capsys.readouterr().out
    assert (
        "run at step 8: the game" in said
        and "duality gap" in said
        and "minimax" in said
        and "clones of 3 steps" in said
    )
    for row in rows:
        assert np.isfinite([row["gap"], row["proximal_gap"], row["gradient_norm"]]).all() and row["largest"]
    again = theory(run, checkpoint="8", clone_steps=3, quiet=True)
    assert again[0]["gap"] == rows[1]["gap"]


def test_a_run_of_one_player_is_no_game(tmp_path):
    alone = {"generator": partial(Autoregressive, hidden=2), "discriminator": None, "objective": objectives.Likelihood}
    train("ornstein-uhlenbeck", source={"count": 20, "length": 4}, out=str(tmp_path / "run"), steps=1, **alone)
    with pytest.raises(ValueError, match="single player"):
        theory(str(tmp_path / "run"))


def test_the_command_shows_known_games_and_fails_where_they_are_not_as_theory_says(tmp_path, capsys, monkeypatch):
    few = [CASES["Dirac-GAN: Hinge, in turns"], CASES["bilinear: Extragradient"]]
    monkeypatch.setattr(catalogue, "catalogue", lambda: few)
    assert cli.main(["theory", "--out", str(tmp_path)]) == 0
    said = capsys.readouterr().out
    assert "circles" in said and "converges" in said and "2 of 2 games are as theory says" in said
    assert (tmp_path / "convergence_orbits.png").stat().st_size > 20_000
    monkeypatch.setattr(catalogue, "catalogue", lambda: [replace(few[0], closed=[1.0, 1.0])])
    assert cli.main(["theory", "--quiet"]) == 1
    assert "not as theory says: Hinge, in turns" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [["--checkpoint", "all"], ["nowhere"], ["nowhere", "--out", "x"]])
def test_wrong_use_of_the_command_is_said_in_a_line(arguments, capsys):
    assert cli.main(["theory", *arguments]) == 2
    assert capsys.readouterr().err.count("\n") == 1
