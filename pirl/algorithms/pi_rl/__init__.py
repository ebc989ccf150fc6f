"""PI-RL (arXiv 2510.25889): PPO on the denoising chain of a flow policy.

Legend: B batch of decisions, N decisions of one update, K denoising steps, C chunk length, H executed steps,
D action dims. A decision is one action chunk; a transition is a decision with its outcome.
"""
