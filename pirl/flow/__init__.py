"""Pure mathematics of stochastic flow sampling: grids, kernels, chains, log-probs.

Nothing here knows a policy, a configuration or a file.

Legend, used in every docstring of this package:
    B  batch                    K  denoising steps
    C  steps of the predicted chunk (the policy's horizon)
    H  executed steps per decision (H <= C)
    D  action dims of the model (padded dims included)
    S  stochastic denoising steps that enter the log-prob
    t  flow time, 1 (noise) -> 0 (action);  interpolant x_t = (1 - t) a + t e,  e ~ N(0, I)

Actions, means, standard deviations and times are in the policy's normalised units; log-probs and
entropies are in nats.
"""
