"""Privacy: can anybody in the training data be recognised? Answered by attack, with what the attack could have shown.

Threat model. What is released is `samples` only, the `generator`, or the `discriminator` too. The attacker holds that,
and reference data of the same population, and asks of each subject (a patient, never one window of many) whether it was
trained on. Members are training subjects, non-members are held-out ones, and the reference is a third part of subjects.

`membership` has the attacks on samples, `risks` attribute inference, linkability and singling out, `figures` what an
attack achieved, `controls` a leak that must be found and one that is none, `diagnostics` what is no measure of privacy,
`report` all of it together. What trains networks, or looks into them, is `commands.attack`.
"""
