"""Watching a run: what is logged while it is trained, and what is made of it afterwards.

gradients        how large, how dead and how steady the gradients of each layer are, and how far a step moves it
similarity       how far what is generated is from held-out real sequences, by measures that cost milliseconds
watchers         who looks on while a run is trained
tracing          steps taken with open eyes: where NaN arose, which activations are saturated
differences      the gradient of the whole objective against finite differences
findings         what of all that is wrong, and what to try
convergence      from the log: does it converge, and since when
reaching         steps until a score was reached, of runs some of which never did
"""
