"""Watching a run: what is logged while it is trained, and what is made of it afterwards.

gradients        how large, how dead and how steady the gradients of each layer are, and how far a step moves it
similarity       how far what is generated is from held-out real sequences, by measures that cost milliseconds
faults           a step repeated with open eyes: where NaN arose, which activations are saturated
differences      the gradient of the whole objective against finite differences
"""
