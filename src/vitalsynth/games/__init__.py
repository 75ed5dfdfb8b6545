"""Theory that tests the code: what is shipped, played on games whose answers are known, and measures of real games.

    toy         players of one or a few parameters, and a game made of them as `train` would make it
    closed      what theory says of them: eigenvalues in closed form
    stepping    eigenvalues of the Jacobian of the real training step
    catalogue   every shipped objective, penalty, stabiliser, optimiser and method that has a closed form
    modes       how many of the known modes a generator has caught
    spectrum    leading eigenvalues of a real game at a checkpoint
    duality     how much either player of a real game could still gain

Nothing here derives a loss or a step a second time: all goes through `training.take_step`.
"""
